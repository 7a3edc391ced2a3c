#include "calib/stats_gpu.h"

#include <assert.h>
#include <string.h>

#include "calib/hist.h"
#include "calib/scan.h"
#include "exec/gpu.h"
#include "exec/opencl/geometry.h"

static_assert(Q8_HIST_BINS == Q8_CL_HIST_BINS, "one histogram");

/* The GPU counts in 32 bits. */
#define MOST_VALUES ((uint64_t)1 << 31)

static q8_code open_counts(q8_stats_waiting *waiting, bool has_bins, const q8_view *view,
                           q8_err *err)
{
    size_t first, step, pixels;
    q8_channel_pixels(&view->shape, &first, &step, &pixels);
    const q8_gpu_stats_form form = {.channels = view->shape.dim[0],
                                    .spatial = (int)q8_shape_spatial(&view->shape),
                                    .min_exponent = Q8_HIST_MIN_EXPONENT,
                                    .steps = Q8_CHANNEL_STEPS,
                                    .octaves = Q8_CHANNEL_OCTAVES,
                                    .first_pixel = (int)first,
                                    .pixel_step = (int)step,
                                    .pixels = has_bins ? (int)pixels : 0};
    return q8_gpu_stats_open(&waiting->counts, q8_gpu_of(view), &form, err);
}

q8_code q8_stats_add_on_gpu(q8_stats *stats, q8_stats_waiting *waiting, bool has_bins,
                            const q8_view *view, q8_err *err)
{
    const uint64_t values = q8_shape_count(&view->shape) * (uint64_t)view->batch;
    q8_code code = waiting->counts ? Q8_OK : open_counts(waiting, has_bins, view, err);
    if (!code && waiting->values + values > MOST_VALUES) {
        code = q8_gpu_run_finish(view->gpu->run, err);
        if (!code)
            code = q8_stats_collect(stats, waiting, err);
    }
    if (!code)
        code = q8_gpu_stats_add(waiting->counts, view, err);
    waiting->values += values;
    return code;
}

static void set_channel(q8_stats *stats, int c, const q8_gpu_channel *from)
{
    q8_channel_bins *bins = &stats->channel_bins[c];
    bins->top = from->top;
    bins->small = from->small;
    memcpy(bins->bin, from->bin, sizeof(bins->bin));
    if (from->lo > from->hi)
        return;
    const float lo = q8_extent_value(from->lo), hi = q8_extent_value(from->hi);
    stats->channel_min[c] = lo;
    stats->channel_max[c] = hi;
    stats->channel_absmax[c] = -lo > hi ? -lo : hi;
    stats->channel_sum[c] = (q8_fixed_sum)from->sum_hi * ((q8_fixed_sum)1 << 64) + from->sum_lo;
    stats->min = lo < stats->min ? lo : stats->min;
    stats->max = hi > stats->max ? hi : stats->max;
}

q8_code q8_stats_collect(q8_stats *stats, q8_stats_waiting *waiting, q8_err *err)
{
    q8_stats own;
    q8_gpu_counts counts;
    if (waiting->values == 0)
        return Q8_OK;
    q8_code code = q8_gpu_stats_read(waiting->counts, &counts, err);
    if (code)
        return code;
    code = q8_stats_init(&own, stats->channels, err);
    if (!code) {
        own.count = waiting->values;
        own.hist.exponent = counts.exponent;
        own.hist.zeros = counts.zeros;
        own.hist.not_finite = counts.not_finite;
        for (int i = 0; i < Q8_HIST_BINS; i++)
            own.hist.bin[i] = counts.bin[i];
        for (int c = 0; c < own.channels; c++) {
            const q8_gpu_channel channel = q8_gpu_stats_channel(waiting->counts, c);
            set_channel(&own, c, &channel);
        }
        q8_stats_merge(stats, &own);
        waiting->values = 0;
    }
    q8_stats_free(&own);
    return code;
}

void q8_stats_waiting_close(q8_stats_waiting *waiting)
{
    q8_gpu_stats_close(&waiting->counts);
    waiting->values = 0;
}
