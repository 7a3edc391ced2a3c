#include "calib/packed.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/pack.h"
#include "calib/hist.h"

enum {
    /* A run of zeros this long is worth a new run. */
    GAP = 4,
    /* Bytes that a channel needs at least. */
    CHANNEL_SIZE = 45,
};

/* --- counters --------------------------------------------------------------------------------- */

static int width_of(const uint64_t *count, size_t n)
{
    uint64_t all = 0;
    for (size_t i = 0; i < n; i++)
        all |= count[i];
    return all >> 32 ? 8 : all >> 16 ? 4 : all >> 8 ? 2 : 1;
}

static size_t zeros_from(const uint64_t *count, size_t from, size_t n)
{
    size_t i = from;
    while (i < n && count[i] == 0)
        i++;
    return i - from;
}

/* Where the run that begins at `from` ends: before the next gap. */
static size_t end_of_run(const uint64_t *count, size_t from, size_t n)
{
    size_t end = from;
    while (end < n) {
        const size_t zeros = zeros_from(count, end, n);
        if (zeros >= GAP || end + zeros == n)
            break;
        end += zeros + 1;
    }
    return end;
}

static void pack_counts(q8_buf *to, const uint64_t *count, size_t n)
{
    const int width = width_of(count, n);
    q8_pack_uint(to, (uint64_t)width, 1);
    for (size_t at = 0; at < n;) {
        const size_t zeros = zeros_from(count, at, n);
        const size_t end = end_of_run(count, at + zeros, n);
        q8_pack_uint(to, zeros, 2);
        q8_pack_uint(to, end - at - zeros, 2);
        for (at += zeros; at < end; at++)
            q8_pack_uint(to, count[at], width);
    }
}

/* @param count zeroed */
static void unpack_counts(q8_unpacker *from, uint64_t *count, size_t n)
{
    const int width = (int)q8_unpack_uint(from, 1);
    if (width != 1 && width != 2 && width != 4 && width != 8)
        from->failed = true;
    for (size_t at = 0; at < n && !from->failed;) {
        const size_t zeros = (size_t)q8_unpack_uint(from, 2);
        const size_t others = (size_t)q8_unpack_uint(from, 2);
        if (zeros + others == 0 || zeros + others > n - at) {
            from->failed = true;
            return;
        }
        at += zeros;
        for (const size_t end = at + others; at < end; at++)
            count[at] = q8_unpack_uint(from, width);
    }
}

/* --- packing ---------------------------------------------------------------------------------- */

static void pack_channel(q8_buf *to, const q8_stats *stats, int channel)
{
    const q8_channel_bins *bins = &stats->channel_bins[channel];
    const q8_fixed_sum sum = stats->channel_sum[channel];
    uint64_t count[Q8_CHANNEL_BINS];
    q8_pack_float(to, stats->channel_min[channel]);
    q8_pack_float(to, stats->channel_max[channel]);
    q8_pack_float(to, stats->channel_absmax[channel]);
    q8_pack_uint(to, (uint64_t)sum, 8);
    q8_pack_uint(to, (uint64_t)(sum >> 64), 8);
    q8_pack_uint(to, (uint32_t)bins->top, 4);
    q8_pack_float(to, bins->factor);
    q8_pack_uint(to, bins->small, 4);
    for (int i = 0; i < Q8_CHANNEL_BINS; i++)
        count[i] = bins->bin[i];
    pack_counts(to, count, Q8_CHANNEL_BINS);
}

static void pack_stats(q8_buf *to, const q8_stats *stats)
{
    q8_pack_uint(to, (uint64_t)stats->channels, 4);
    q8_pack_float(to, stats->min);
    q8_pack_float(to, stats->max);
    q8_pack_uint(to, stats->count, 8);
    q8_pack_uint(to, (uint32_t)stats->hist.exponent, 4);
    q8_pack_uint(to, stats->hist.zeros, 8);
    q8_pack_uint(to, stats->hist.not_finite, 8);
    pack_counts(to, stats->hist.bin, Q8_HIST_BINS);
    for (int c = 0; c < stats->channels; c++)
        pack_channel(to, stats, c);
}

void q8_calibration_pack(const q8_calibration *cal, q8_buf *to)
{
    size_t observed = 0;
    for (int t = 0; t < cal->n_tensors; t++)
        observed += cal->stats[t] != NULL;
    q8_pack_uint(to, (uint64_t)cal->n_tensors, 4);
    q8_pack_uint(to, cal->used, 8);
    q8_pack_uint(to, cal->skipped, 8);
    q8_pack_uint(to, observed, 4);
    for (int t = 0; t < cal->n_tensors; t++) {
        if (!cal->stats[t])
            continue;
        q8_pack_uint(to, (uint64_t)t, 4);
        pack_stats(to, cal->stats[t]);
    }
}

/* --- unpacking -------------------------------------------------------------------------------- */

/* What is being unpacked. */
struct unpacking {
    q8_unpacker from;
    const q8_graph *graph;
    q8_calibration *cal;
    q8_err *err;
};

static q8_code damaged(const struct unpacking *u, int tensor, const char *what)
{
    return q8_fail(u->err, Q8_EFORMAT, NULL, NULL, "the statistics of '%s' contradict %s",
                   u->graph->tensor[tensor].name, what);
}

static q8_code cut_off(const struct unpacking *u)
{
    return q8_fail(u->err, Q8_EFORMAT, NULL, NULL, "not statistics, or cut off");
}

/* +inf and -inf are the extrema of no values. */
static bool are_extrema(float min, float max)
{
    return isfinite(min) ? isfinite(max) && min <= max
                         : min == (float)INFINITY && max == -(float)INFINITY;
}

/* The largest |x|; 0 where there are no values. */
static float largest(float min, float max)
{
    return !isfinite(min) ? 0 : -min > max ? -min : max;
}

static bool is_channel_valid(const q8_stats *stats, int c, size_t used, size_t pixels)
{
    const float min = stats->channel_min[c], max = stats->channel_max[c];
    const q8_channel_bins *bins = &stats->channel_bins[c];
    const double values = (double)stats->count / stats->channels;
    const double sum = fabs((double)stats->channel_sum[c] * 0x1p-40);
    const size_t looked_at = pixels < Q8_CHANNEL_PIXELS ? pixels : Q8_CHANNEL_PIXELS;
    return are_extrema(min, max) && (!isfinite(min) || (min >= stats->min && max <= stats->max)) &&
           stats->channel_absmax[c] == largest(min, max) && bins->top >= 0 && bins->top < 255 &&
           bins->factor == 1 && q8_channel_bins_count(bins) <= used * looked_at &&
           sum <= 1.01 * (double)stats->channel_absmax[c] * values;
}

static void unpack_channel(q8_unpacker *from, q8_stats *stats, int channel)
{
    q8_channel_bins *bins = &stats->channel_bins[channel];
    uint64_t count[Q8_CHANNEL_BINS] = {0};
    stats->channel_min[channel] = q8_unpack_float(from);
    stats->channel_max[channel] = q8_unpack_float(from);
    stats->channel_absmax[channel] = q8_unpack_float(from);
    const uint64_t low = q8_unpack_uint(from, 8);
    const int64_t high = (int64_t)q8_unpack_uint(from, 8);
    stats->channel_sum[channel] = (q8_fixed_sum)high * ((q8_fixed_sum)1 << 64) + low;
    bins->top = (int32_t)q8_unpack_uint(from, 4);
    bins->factor = q8_unpack_float(from);
    bins->small = (uint32_t)q8_unpack_uint(from, 4);
    unpack_counts(from, count, Q8_CHANNEL_BINS);
    for (int i = 0; i < Q8_CHANNEL_BINS; i++) {
        from->failed = from->failed || count[i] > UINT32_MAX;
        bins->bin[i] = (uint32_t)count[i];
    }
}

/* The exponent is the smallest that holds the largest value, and each value is counted once. */
static bool is_histogram_valid(const q8_stats *stats)
{
    const q8_hist *hist = &stats->hist;
    const double absmax = (double)largest(stats->min, stats->max);
    uint64_t total = 0;
    bool fits = !__builtin_add_overflow(hist->zeros, hist->not_finite, &total);
    for (int i = 0; i < Q8_HIST_BINS && fits; i++)
        fits = !__builtin_add_overflow(total, hist->bin[i], &total);
    if (!fits || total != stats->count)
        return false;
    if (hist->exponent == Q8_HIST_EMPTY)
        return absmax == 0 && hist->zeros + hist->not_finite == total;
    if (hist->exponent < Q8_HIST_MIN_EXPONENT || hist->exponent > 128)
        return false;
    return absmax > 0 && absmax < ldexp(1, hist->exponent) &&
           (hist->exponent == Q8_HIST_MIN_EXPONENT || absmax >= ldexp(1, hist->exponent - 1));
}

static q8_code unpack_stats(struct unpacking *u, int tensor)
{
    q8_unpacker *from = &u->from;
    q8_stats *stats = u->cal->stats[tensor];
    const q8_shape *shape = &u->graph->tensor[tensor].shape;
    const size_t channels = (size_t)q8_unpack_uint(from, 4);
    if (from->failed || channels > from->left / CHANNEL_SIZE)
        return cut_off(u);
    if (channels != (size_t)shape->dim[0])
        return damaged(u, tensor, "its shape");
    const q8_code code = q8_stats_init(stats, (int)channels, u->err);
    if (code)
        return code;
    stats->min = q8_unpack_float(from);
    stats->max = q8_unpack_float(from);
    stats->count = q8_unpack_uint(from, 8);
    stats->hist.exponent = (int32_t)q8_unpack_uint(from, 4);
    stats->hist.zeros = q8_unpack_uint(from, 8);
    stats->hist.not_finite = q8_unpack_uint(from, 8);
    unpack_counts(from, stats->hist.bin, Q8_HIST_BINS);
    for (int c = 0; c < stats->channels && !from->failed; c++)
        unpack_channel(from, stats, c);
    if (from->failed)
        return cut_off(u);
    if (stats->count != (uint64_t)u->cal->used * q8_shape_count(shape))
        return damaged(u, tensor, "the number of samples");
    if (!are_extrema(stats->min, stats->max) || !is_histogram_valid(stats))
        return damaged(u, tensor, "themselves");
    for (int c = 0; c < stats->channels; c++)
        if (!is_channel_valid(stats, c, u->cal->used, q8_shape_spatial(shape)))
            return damaged(u, tensor, "themselves");
    return Q8_OK;
}

static q8_code unpack_tensors(struct unpacking *u, size_t observed)
{
    int next = 0; /* ids ascend */
    q8_code code = Q8_OK;
    for (size_t i = 0; i < observed && !code; i++) {
        const uint64_t id = q8_unpack_uint(&u->from, 4);
        if (u->from.failed || id < (uint64_t)next || id >= (uint64_t)u->graph->n_tensors)
            return cut_off(u);
        next = (int)id + 1;
        u->cal->stats[id] = calloc(1, sizeof(q8_stats));
        code = u->cal->stats[id] ? unpack_stats(u, (int)id) : q8_fail_nomem(u->err);
    }
    return code || u->from.left == 0 ? code : cut_off(u);
}

static q8_code unpack_all(struct unpacking *u)
{
    const size_t n_tensors = (size_t)q8_unpack_uint(&u->from, 4);
    u->cal->used = (size_t)q8_unpack_uint(&u->from, 8);
    u->cal->skipped = (size_t)q8_unpack_uint(&u->from, 8);
    const size_t observed = (size_t)q8_unpack_uint(&u->from, 4);
    if (u->from.failed || u->cal->used > Q8_MAX_SAMPLES || u->cal->skipped > Q8_MAX_SAMPLES)
        return cut_off(u);
    if (n_tensors != (size_t)u->graph->n_tensors)
        return q8_fail(u->err, Q8_EFORMAT, NULL, NULL,
                       "statistics of a network with %zu tensors; this one has %d", n_tensors,
                       u->graph->n_tensors);
    u->cal->n_tensors = u->graph->n_tensors;
    u->cal->stats = calloc(n_tensors + 1, sizeof(*u->cal->stats));
    return u->cal->stats ? unpack_tensors(u, observed) : q8_fail_nomem(u->err);
}

q8_code q8_calibration_unpack(q8_calibration *cal, const void *data, size_t size,
                              const q8_graph *graph, q8_err *err)
{
    struct unpacking u = {.from = {data, size, false}, .graph = graph, .cal = cal, .err = err};
    memset(cal, 0, sizeof(*cal));
    const q8_code code = unpack_all(&u);
    if (code)
        q8_calibration_free(cal);
    return code;
}

/* --- merging ---------------------------------------------------------------------------------- */

static bool do_sums_fit(const q8_stats *a, const q8_stats *b)
{
    q8_fixed_sum sum;
    for (int c = 0; c < a->channels; c++)
        if (__builtin_add_overflow(a->channel_sum[c], b->channel_sum[c], &sum))
            return false;
    return true;
}

q8_code q8_calibration_merge(q8_calibration *into, const q8_calibration *from, q8_err *err)
{
    bool same = into->n_tensors == from->n_tensors;
    const size_t used = into->used + from->used, skipped = into->skipped + from->skipped;
    bool fits = true;
    for (int t = 0; same && t < into->n_tensors; t++) {
        const q8_stats *a = into->stats[t], *b = from->stats[t];
        same = a && b ? a->channels == b->channels : a == b;
        fits = fits && (!same || !a || do_sums_fit(a, b));
    }
    if (!same)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "statistics of other tensors");
    if (used > Q8_MAX_SAMPLES || skipped > Q8_MAX_SAMPLES)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "statistics of %zu samples used and %zu skipped; " Q8_LIMIT, used, skipped,
                       Q8_LIMIT_OF(Q8_MAX_SAMPLES));
    if (!fits)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "statistics of more samples than can be counted together");
    for (int t = 0; t < into->n_tensors; t++)
        if (into->stats[t])
            q8_stats_merge(into->stats[t], from->stats[t]);
    into->used = used;
    into->skipped = skipped;
    return Q8_OK;
}
