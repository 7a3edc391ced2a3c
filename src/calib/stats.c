#include "calib/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"
#include "calib/hist.h"

/* Accumulators of the vector loop: one AVX-512 register. */
enum { LANES = 16 };

/* The smallest and the largest of some values, as integers that sort as the floats do: -NaN, -inf,
 * …, -0, +0, …, +inf, +NaN. */
struct extent {
    int32_t lo, hi;
};

static const struct extent nothing = {INT32_MAX, INT32_MIN};

static int32_t key_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits ^ ((bits >> 31) & INT32_MAX);
}

static float of_key(int32_t key)
{
    const int32_t bits = key ^ ((key >> 31) & INT32_MAX);
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x + 0.0f; /* -0 becomes 0, whichever of them came first */
}

/* The bits of the largest |x|. */
static uint32_t abs_bits(struct extent e)
{
    const int32_t lo = e.lo < 0 ? ~e.lo : e.lo;
    const int32_t hi = e.hi < 0 ? ~e.hi : e.hi;
    return (uint32_t)(lo > hi ? lo : hi);
}

static bool is_finite(struct extent e)
{
    return abs_bits(e) < 0x7f800000;
}

static void widen(struct extent *e, int32_t lo, int32_t hi)
{
    e->lo = lo < e->lo ? lo : e->lo;
    e->hi = hi > e->hi ? hi : e->hi;
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
};

typedef int32_t vector __attribute__((vector_size(LANES * sizeof(int32_t))));

/* Extents of the values i, i + LANES, … for each i < LANES. */
Q8_SIMD_CLONES
static void lane_extents(const float *x, size_t n, int32_t *lo, int32_t *hi)
{
    vector l = {0}, h = {0};
    l += INT32_MAX;
    h += INT32_MIN;
    size_t row = 0;
    for (; row + LANES <= n; row += LANES) {
        vector key;
        memcpy(&key, x + row, sizeof(key));
        key ^= (key >> 31) & INT32_MAX;
        const vector less = key<l, more = key> h;
        l = (key & less) | (l & ~less);
        h = (key & more) | (h & ~more);
    }
    memcpy(lo, &l, sizeof(l));
    memcpy(hi, &h, sizeof(h));
    for (size_t i = 0; row + i < n; i++) {
        const int32_t key = key_of(x[row + i]);
        lo[i] = key < lo[i] ? key : lo[i];
        hi[i] = key > hi[i] ? key : hi[i];
    }
}

typedef float float_vector __attribute__((vector_size(LANES * sizeof(float))));

/* Sums of the values i, i + LANES, … for each i < LANES. */
Q8_SIMD_CLONES
static void lane_sums(const float *x, size_t n, float *sum)
{
    float_vector s = {0};
    size_t row = 0;
    for (; row + LANES <= n; row += LANES) {
        float_vector v;
        memcpy(&v, x + row, sizeof(v));
        s += v;
    }
    memcpy(sum, &s, sizeof(s));
    for (size_t i = 0; row + i < n; i++)
        sum[i] += x[row + i];
}

static void add_sum(q8_fixed_sum *into, double sum)
{
    const double most = 0x1p60; /* beyond any network, and 2^27 such runs do not overflow */
    if (isnan(sum))             /* values near the largest float, of both signs */
        return;
    sum = sum > most ? most : sum < -most ? -most : sum;
    *into += (q8_fixed_sum)(sum * 0x1p40);
}

/* Adds up the channels of a run of finite values. */
static void add_channel_sums(q8_stats *stats, const struct run *r)
{
    q8_fixed_sum *sum = stats->channel_sum + r->first;
    float lane[LANES];
    if (r->step > 1 && LANES % r->step == 0) {
        lane_sums(r->x, r->n, lane);
        for (size_t i = 0; i < LANES; i++)
            if (i % r->step < (size_t)r->channels)
                add_sum(&sum[i % r->step], (double)lane[i]);
        return;
    }
    for (int c = 0; c < r->channels; c++) {
        const float *x = r->x + (size_t)c * r->start_step;
        double total = 0;
        if (r->step > 1 || r->each < LANES) {
            for (size_t i = 0; i < r->each; i++)
                total += (double)x[i * r->step];
        } else {
            lane_sums(x, r->each, lane);
            for (int i = 0; i < LANES; i++)
                total += (double)lane[i];
        }
        add_sum(&sum[c], total);
    }
}

/* Extent of the finite values among some, one by one. */
static struct extent finite_extent(const float *x, size_t n, size_t step)
{
    struct extent e = nothing;
    for (size_t i = 0; i < n; i++) {
        const int32_t key = key_of(x[i * step]);
        const struct extent one = {key, key};
        if (is_finite(one))
            widen(&e, key, key);
    }
    return e;
}

/* Extents of the channels of a run, NaN and infinities included. */
static void channel_extents(const struct run *r, struct extent *e)
{
    int32_t lo[LANES], hi[LANES];
    for (int c = 0; c < r->channels; c++)
        e[c] = nothing;
    if (r->step > 1 && LANES % r->step == 0) {
        lane_extents(r->x, r->n, lo, hi);
        for (size_t i = 0; i < LANES; i++)
            if (i % r->step < (size_t)r->channels)
                widen(&e[i % r->step], lo[i], hi[i]);
        return;
    }
    for (int c = 0; c < r->channels; c++) {
        const float *x = r->x + (size_t)c * r->start_step;
        if (r->step > 1 || r->each < LANES) {
            for (size_t i = 0; i < r->each; i++)
                widen(&e[c], key_of(x[i * r->step]), key_of(x[i * r->step]));
            continue;
        }
        lane_extents(x, r->each, lo, hi);
        for (int i = 0; i < LANES; i++)
            widen(&e[c], lo[i], hi[i]);
    }
}

static void note_channel(q8_stats *stats, int channel, struct extent e)
{
    const float lo = of_key(e.lo), hi = of_key(e.hi);
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

static void add_run(q8_stats *stats, q8_binner *binner, const struct run *r)
{
    struct extent extent[Q8_BIN_RUN];
    uint32_t absmax = 0;
    bool finite = true;
    channel_extents(r, extent);
    for (int c = 0; c < r->channels; c++) {
        struct extent e = extent[c];
        if (!is_finite(e)) {
            finite = false;
            e = finite_extent(r->x + (size_t)c * r->start_step, r->each, r->step);
            if (e.hi < e.lo)
                continue;
        }
        note_channel(stats, r->first + c, e);
        absmax = abs_bits(e) > absmax ? abs_bits(e) : absmax;
    }
    const size_t count = (size_t)r->channels * r->each;
    stats->count += count;
    if (finite)
        add_channel_sums(stats, r);
    if (finite && count == r->n) {
        q8_binner_add(binner, r->x, r->n, absmax);
        return;
    }
    float usable[Q8_BIN_RUN];
    const size_t n = copy_usable(r, usable);
    stats->hist.not_finite += count - n;
    q8_binner_add(binner, usable, n, absmax);
}

/* One picture, channel after channel. */
static void add_planes(q8_stats *stats, q8_binner *binner, const float *x, size_t spatial)
{
    /* Small channels go together, large ones in pieces. */
    const size_t piece = spatial < Q8_BIN_RUN ? spatial : Q8_BIN_RUN;
    const int together = (int)(Q8_BIN_RUN / piece);
    for (int c = 0; c < stats->channels; c += together) {
        const int left = stats->channels - c;
        const int channels = left < together ? left : together;
        for (size_t at = 0; at < spatial; at += piece) {
            const size_t each = spatial - at < piece ? spatial - at : piece;
            const struct run r = {.x = x + (size_t)c * spatial + at,
                                  .n = (size_t)channels * each,
                                  .first = c,
                                  .channels = channels,
                                  .each = each,
                                  .start_step = spatial,
                                  .step = 1};
            add_run(stats, binner, &r);
        }
    }
}

/* One picture, blocks of channels taking turns. */
static void add_blocks(q8_stats *stats, q8_binner *binner, const float *x, size_t spatial,
                       int block)
{
    const size_t piece = Q8_BIN_RUN / (size_t)block;
    for (int c = 0; c < stats->channels; c += block) {
        const int left = stats->channels - c;
        for (size_t at = 0; at < spatial; at += piece) {
            const size_t each = spatial - at < piece ? spatial - at : piece;
            const struct run r = {.x = x + (size_t)c * spatial + at * (size_t)block,
                                  .n = each * (size_t)block,
                                  .first = c,
                                  .channels = left < block ? left : block,
                                  .each = each,
                                  .start_step = 1,
                                  .step = (size_t)block};
            add_run(stats, binner, &r);
        }
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
    if (view->batch >= Q8_CHANNEL_QUEUE) {
        q8_stats_add(stats, view);
        return Q8_OK;
    }
    add_values(stats, view);
    return q8_channel_queue_add(queue, stats->channel_bins, view, err);
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
