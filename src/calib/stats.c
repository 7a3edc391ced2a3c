#include "calib/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "calib/hist.h"
#include "calib/scan.h"

static bool is_finite(q8_extent e)
{
    return q8_extent_abs_bits(e) < 0x7f800000;
}

/* Values that lie together: of one channel after another, or `block` channels taking turns. */
struct run {
    const float *x;
    size_t n;          /* all values, padding channels included */
    int first;         /* channel */
    int channels;      /* without padding channels */
    size_t each;       /* values of a channel */
    size_t start_step; /* from a channel's first value to the next channel's */
    size_t step;       /* from a channel's value to its next */
    bool rows;         /* a row of channels every `step`, other channels between them */
};

static void add_sum(q8_fixed_sum *into, double sum)
{
    const double most = 0x1p60; /* beyond any network, and 2^27 such runs do not overflow */
    if (isnan(sum))             /* values near the largest float, of both signs */
        return;
    sum = sum > most ? most : sum < -most ? -most : sum;
    *into += (q8_fixed_sum)(sum * 0x1p40);
}

/* What was found in a run. */
struct found {
    q8_extent extent[Q8_SCAN_RUN]; /* by channel of the run; NaN and infinities included */
    double sum[Q8_SCAN_RUN];       /* likewise */
    int32_t bin[Q8_SCAN_RUN + Q8_SCAN_LANES];
    size_t n_bins;
};

static bool is_interleaved(const struct run *r)
{
    return r->step > 1 && Q8_SCAN_LANES % r->step == 0;
}

static void scan_run(const struct run *r, q8_scan *scan, float scale, int32_t *bin)
{
    if (r->rows)
        q8_scan_rows(scan, r->x, r->each, r->step, r->channels, scale, bin);
    else
        q8_scan_values(scan, r->x, r->n, scale, bin);
}

/* A value of each channel in turn: lanes are channels. */
static void look_at_block(const struct run *r, float scale, struct found *f)
{
    q8_scan scan;
    scan_run(r, &scan, scale, f->bin);
    for (size_t i = 0; i < Q8_SCAN_LANES; i++)
        if (i % r->step < (size_t)r->channels) {
            q8_extent_widen(&f->extent[i % r->step], (q8_extent){scan.lo[i], scan.hi[i]});
            f->sum[i % r->step] += (double)scan.sum[i];
        }
    f->n_bins = scan.n_bins;
}

static void look_at_plane(const struct run *r, int channel, float scale, struct found *f)
{
    q8_scan scan;
    q8_scan_values(&scan, r->x + (size_t)channel * r->start_step, r->each, scale,
                   f->bin + f->n_bins);
    for (int i = 0; i < Q8_SCAN_LANES; i++) {
        q8_extent_widen(&f->extent[channel], (q8_extent){scan.lo[i], scan.hi[i]});
        f->sum[channel] += (double)scan.sum[i];
    }
    f->n_bins += scan.n_bins;
}

/* Channels of a few values, which lie together, or in blocks of an odd size. */
static void look_at_few(const struct run *r, float scale, struct found *f)
{
    q8_scan scan;
    for (int c = 0; c < r->channels; c++)
        for (size_t i = 0; i < r->each; i++) {
            const float x = r->x[(size_t)c * r->start_step + i * r->step];
            const int32_t key = q8_extent_key(x);
            q8_extent_widen(&f->extent[c], (q8_extent){key, key});
            f->sum[c] += (double)x;
        }
    q8_scan_values(&scan, r->x, r->n, scale, f->bin);
    f->n_bins = scan.n_bins;
}

static void look(const struct run *r, float scale, struct found *f)
{
    f->n_bins = 0;
    for (int c = 0; c < r->channels; c++) {
        f->extent[c] = q8_no_extent;
        f->sum[c] = 0;
    }
    if (r->rows || is_interleaved(r))
        look_at_block(r, scale, f);
    else if (r->step == 1 && r->each >= Q8_SCAN_LANES)
        for (int c = 0; c < r->channels; c++)
            look_at_plane(r, c, scale, f);
    else
        look_at_few(r, scale, f);
}

/* Extent of the finite values among some, one by one. */
static q8_extent finite_extent(const float *x, size_t n, size_t step)
{
    q8_extent e = q8_no_extent;
    for (size_t i = 0; i < n; i++) {
        const int32_t key = q8_extent_key(x[i * step]);
        const q8_extent one = {key, key};
        if (is_finite(one))
            q8_extent_widen(&e, one);
    }
    return e;
}

static void note_channel(q8_stats *stats, int channel, q8_extent e)
{
    const float lo = q8_extent_value(e.lo), hi = q8_extent_value(e.hi);
    const float absmax = -lo > hi ? -lo : hi;
    stats->min = lo < stats->min ? lo : stats->min;
    stats->max = hi > stats->max ? hi : stats->max;
    if (lo < stats->channel_min[channel])
        stats->channel_min[channel] = lo;
    if (hi > stats->channel_max[channel])
        stats->channel_max[channel] = hi;
    if (absmax > stats->channel_absmax[channel])
        stats->channel_absmax[channel] = absmax;
}

/* Copies the finite values of the run's channels. */
static size_t copy_usable(const struct run *r, float *out)
{
    size_t n = 0;
    for (int c = 0; c < r->channels; c++)
        for (size_t i = 0; i < r->each; i++) {
            const float x = r->x[(size_t)c * r->start_step + i * r->step];
            if (isfinite(x))
                out[n++] = x;
        }
    return n;
}

/* What the pieces of some channels of one picture come to. */
struct total {
    q8_extent extent[Q8_SCAN_RUN]; /* of finite values */
    double sum[Q8_SCAN_RUN];       /* of the pieces that are finite */
};

static void start_total(struct total *total, int channels)
{
    for (int c = 0; c < channels; c++) {
        total->extent[c] = q8_no_extent;
        total->sum[c] = 0;
    }
}

static void note_total(q8_stats *stats, const struct total *total, int first, int channels)
{
    for (int c = 0; c < channels; c++) {
        if (total->extent[c].lo <= total->extent[c].hi)
            note_channel(stats, first + c, total->extent[c]);
        add_sum(&stats->channel_sum[first + c], total->sum[c]);
    }
}

/* @return whether all values of the run are finite */
static bool add_to_total(struct total *total, const struct run *r, const struct found *f,
                         uint32_t *absmax)
{
    bool finite = true;
    *absmax = 0;
    for (int c = 0; c < r->channels; c++) {
        q8_extent e = f->extent[c];
        if (!is_finite(e)) {
            finite = false;
            e = finite_extent(r->x + (size_t)c * r->start_step, r->each, r->step);
            if (e.hi < e.lo)
                continue;
        }
        q8_extent_widen(&total->extent[c], e);
        const uint32_t bits = q8_extent_abs_bits(e);
        *absmax = bits > *absmax ? bits : *absmax;
    }
    for (int c = 0; finite && c < r->channels; c++)
        total->sum[c] += f->sum[c];
    return finite;
}

/* Bins are looked for before it is known whether the range will do, as it nearly always does. */
static void add_run(q8_stats *stats, q8_binner *binner, const struct run *r, struct total *total)
{
    struct found f;
    uint32_t absmax;
    float usable[Q8_SCAN_RUN];
    q8_scan scan;
    const size_t all = (size_t)r->channels * r->each;
    size_t n = all;
    look(r, q8_hist_scale(&stats->hist), &f);
    const bool as_is = add_to_total(total, r, &f, &absmax) && n == r->n;
    const bool wider = q8_binner_fit(binner, absmax);
    if (!as_is) {
        n = copy_usable(r, usable);
        q8_scan_values(&scan, usable, n, q8_hist_scale(&stats->hist), f.bin);
    } else if (wider) {
        scan_run(r, &scan, q8_hist_scale(&stats->hist), f.bin);
    }
    if (!as_is || wider)
        f.n_bins = scan.n_bins;
    stats->count += all;
    stats->hist.not_finite += all - n;
    stats->hist.zeros += n - f.n_bins;
    q8_binner_add(binner, f.bin, f.n_bins);
}

/* One picture, channel after channel. */
static void add_planes(q8_stats *stats, q8_binner *binner, const float *x, size_t spatial)
{
    /* Small channels go together, large ones in pieces. */
    const size_t piece = spatial < Q8_SCAN_RUN ? spatial : Q8_SCAN_RUN;
    const int together = (int)(Q8_SCAN_RUN / piece);
    for (int c = 0; c < stats->channels; c += together) {
        const int left = stats->channels - c;
        const int channels = left < together ? left : together;
        struct total total;
        start_total(&total, channels);
        for (size_t at = 0; at < spatial; at += piece) {
            const size_t each = spatial - at < piece ? spatial - at : piece;
            const struct run r = {.x = x + (size_t)c * spatial + at,
                                  .n = (size_t)channels * each,
                                  .first = c,
                                  .channels = channels,
                                  .each = each,
                                  .start_step = spatial,
                                  .step = 1};
            add_run(stats, binner, &r, &total);
        }
        note_total(stats, &total, c, channels);
    }
}

/* One picture, pixel after pixel: some channels of many pixels at a time, as a register holds. */
static void add_pixels(q8_stats *stats, q8_binner *binner, const float *x, size_t spatial)
{
    const size_t piece = Q8_SCAN_RUN / Q8_SCAN_LANES;
    for (int c = 0; c < stats->channels; c += Q8_SCAN_LANES) {
        const int left = stats->channels - c,
                  channels = left < Q8_SCAN_LANES ? left : Q8_SCAN_LANES;
        struct total total;
        start_total(&total, channels);
        for (size_t at = 0; at < spatial; at += piece) {
            const size_t each = spatial - at < piece ? spatial - at : piece;
            const struct run r = {.x = x + at * (size_t)stats->channels + c,
                                  .n = (size_t)channels * each,
                                  .first = c,
                                  .channels = channels,
                                  .each = each,
                                  .start_step = 1,
                                  .step = (size_t)stats->channels,
                                  .rows = true};
            add_run(stats, binner, &r, &total);
        }
        note_total(stats, &total, c, channels);
    }
}

/* One picture, blocks of channels taking turns. */
static void add_blocks(q8_stats *stats, q8_binner *binner, const float *x, size_t spatial,
                       int block)
{
    const size_t piece = Q8_SCAN_RUN / (size_t)block;
    for (int c = 0; c < stats->channels; c += block) {
        const int left = stats->channels - c, channels = left < block ? left : block;
        struct total total;
        start_total(&total, channels);
        for (size_t at = 0; at < spatial; at += piece) {
            const size_t each = spatial - at < piece ? spatial - at : piece;
            const struct run r = {.x = x + (size_t)c * spatial + at * (size_t)block,
                                  .n = each * (size_t)block,
                                  .first = c,
                                  .channels = channels,
                                  .each = each,
                                  .start_step = 1,
                                  .step = (size_t)block};
            add_run(stats, binner, &r, &total);
        }
        note_total(stats, &total, c, channels);
    }
}

q8_code q8_stats_init(q8_stats *stats, int channels, q8_err *err)
{
    const size_t n = (size_t)channels;
    memset(stats, 0, sizeof(*stats));
    stats->hist.exponent = Q8_HIST_EMPTY;
    stats->min = INFINITY;
    stats->max = -INFINITY;
    stats->channels = channels;
    stats->channel_min = calloc(n, sizeof(*stats->channel_min));
    stats->channel_max = calloc(n, sizeof(*stats->channel_max));
    stats->channel_absmax = calloc(n, sizeof(*stats->channel_absmax));
    stats->channel_sum = calloc(n, sizeof(*stats->channel_sum));
    stats->channel_bins = calloc(n, sizeof(*stats->channel_bins));
    if (!stats->channel_min || !stats->channel_max || !stats->channel_absmax ||
        !stats->channel_sum || !stats->channel_bins)
        return q8_fail_nomem(err);
    for (int c = 0; c < channels; c++) {
        stats->channel_min[c] = stats->min;
        stats->channel_max[c] = stats->max;
        q8_channel_bins_init(&stats->channel_bins[c]);
    }
    return Q8_OK;
}

size_t q8_stats_size(int channels)
{
    const q8_stats *s = NULL;
    return sizeof(*s) + (size_t)channels * (sizeof(*s->channel_min) + sizeof(*s->channel_max) +
                                            sizeof(*s->channel_absmax) + sizeof(*s->channel_sum) +
                                            sizeof(*s->channel_bins));
}

void q8_stats_free(q8_stats *stats)
{
    free(stats->channel_min);
    free(stats->channel_max);
    free(stats->channel_absmax);
    free(stats->channel_sum);
    free(stats->channel_bins);
    memset(stats, 0, sizeof(*stats));
}

q8_code q8_stats_copy(q8_stats *stats, const q8_stats *from, q8_err *err)
{
    const q8_code code = q8_stats_init(stats, from->channels, err);
    if (!code)
        q8_stats_merge(stats, from);
    return code;
}

float q8_stats_channel_mean(const q8_stats *stats, int channel)
{
    const double values = (double)stats->count / stats->channels;
    return values > 0 ? (float)((double)stats->channel_sum[channel] * 0x1p-40 / values) : 0;
}

/* All but the channels' bins. */
static void add_values(q8_stats *stats, const q8_view *view)
{
    const size_t spatial = q8_shape_spatial(&view->shape);
    const size_t block = (size_t)view->block;
    const size_t padded = ((size_t)stats->channels + block - 1) / block * block;
    q8_binner binner;
    q8_binner_open(&binner, &stats->hist);
    for (int i = 0; i < view->batch; i++) {
        const float *x = view->data + (size_t)i * padded * spatial;
        if (view->block == 1)
            add_planes(stats, &binner, x, spatial);
        else if (view->block == stats->channels)
            add_pixels(stats, &binner, x, spatial);
        else
            add_blocks(stats, &binner, x, spatial, view->block);
    }
    q8_binner_flush(&binner);
}

void q8_stats_add(q8_stats *stats, const q8_view *view)
{
    add_values(stats, view);
    q8_channel_bins_add(stats->channel_bins, view);
}

q8_code q8_stats_queue(q8_stats *stats, q8_channel_queue *queue, const q8_view *view, q8_err *err)
{
    add_values(stats, view);
    if (queue && view->batch < Q8_CHANNEL_QUEUE)
        return q8_channel_queue_add(queue, stats->channel_bins, view, err);
    if (queue)
        q8_channel_bins_add(stats->channel_bins, view);
    return Q8_OK;
}

void q8_stats_merge(q8_stats *into, const q8_stats *from)
{
    q8_hist_merge(&into->hist, &from->hist);
    into->min = from->min < into->min ? from->min : into->min;
    into->max = from->max > into->max ? from->max : into->max;
    into->count += from->count;
    for (int c = 0; c < into->channels; c++) {
        if (from->channel_min[c] < into->channel_min[c])
            into->channel_min[c] = from->channel_min[c];
        if (from->channel_max[c] > into->channel_max[c])
            into->channel_max[c] = from->channel_max[c];
        q8_channel_bins_merge(&into->channel_bins[c], &from->channel_bins[c]);
        if (from->channel_absmax[c] > into->channel_absmax[c])
            into->channel_absmax[c] = from->channel_absmax[c];
        into->channel_sum[c] += from->channel_sum[c];
    }
}
