/* Statistics of a tensor on the device: they stay there, and only counts come back. */
#ifdef Q8_HAVE_OPENCL

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "exec/opencl.h"

struct q8_gpu_stats {
    q8_gpu *gpu;
    q8_cl_stats form;
    cl_mem state;
    size_t words, channel_words;
    cl_uint *empty, *read; /* the state before the first value, and as it was read last */
};

static void set_empty(q8_gpu_stats *stats)
{
    memset(stats->empty, 0, stats->words * sizeof(*stats->empty));
    stats->empty[Q8_CL_STATS_EXPONENT] = (cl_uint)INT32_MIN;
    for (int c = 0; c < stats->form.channels; c++) {
        cl_uint *channel =
            stats->empty + Q8_CL_STATS_BINS + Q8_CL_HIST_BINS + (size_t)c * stats->channel_words;
        channel[Q8_CL_CHANNEL_LO] = (cl_uint)INT32_MAX;
        channel[Q8_CL_CHANNEL_HI] = (cl_uint)INT32_MIN;
    }
}

q8_code q8_gpu_stats_open(q8_gpu_stats **out, q8_gpu *gpu, const q8_gpu_stats_form *form,
                          q8_err *err)
{
    q8_gpu_stats *stats = calloc(1, sizeof(*stats));
    *out = stats;
    if (!stats)
        return q8_fail_nomem(err);
    stats->gpu = gpu;
    stats->form = (q8_cl_stats){.channels = form->channels,
                                .spatial = form->spatial,
                                .min_exponent = form->min_exponent,
                                .steps = form->steps,
                                .octaves = form->octaves,
                                .first_pixel = form->first_pixel,
                                .pixel_step = form->pixel_step,
                                .pixels = form->pixels};
    stats->channel_words = Q8_CL_CHANNEL_BINS + (size_t)form->steps * (size_t)form->octaves;
    stats->words =
        Q8_CL_STATS_BINS + Q8_CL_HIST_BINS + (size_t)form->channels * stats->channel_words;
    stats->empty = malloc(stats->words * sizeof(*stats->empty));
    stats->read = malloc(stats->words * sizeof(*stats->read));
    q8_code code = stats->empty && stats->read ? Q8_OK : q8_fail_nomem(err);
    if (!code) {
        set_empty(stats);
        code = q8_cl_constant(gpu, &stats->state, stats->empty,
                              stats->words * sizeof(*stats->empty), err);
    }
    if (code)
        q8_gpu_stats_close(out);
    return code;
}

void q8_gpu_stats_close(q8_gpu_stats **out)
{
    q8_gpu_stats *stats = *out;
    if (!stats)
        return;
    if (stats->state)
        clReleaseMemObject(stats->state);
    free(stats->empty);
    free(stats->read);
    free(stats);
    *out = NULL;
}

q8_code q8_gpu_stats_add(q8_gpu_stats *stats, const q8_view *view, q8_err *err)
{
    enum { MAX_TEAMS = 64, VALUES_PER_TEAM = 64 * Q8_CL_TEAM };
    q8_gpu_run *run = view->gpu->run;
    const cl_mem x = view->gpu->memory;
    q8_cl_stats form = stats->form;
    form.batch = view->batch;
    const cl_int n = form.batch * form.channels * form.spatial;
    const size_t channels = (size_t)form.channels;
    const size_t teams = (size_t)n / VALUES_PER_TEAM + 1;
    const q8_cl_grid by_channel = {channels * Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_grid one = {Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_grid all = {(teams < MAX_TEAMS ? teams : MAX_TEAMS) * Q8_CL_TEAM, 1, Q8_CL_TEAM};
    const q8_cl_grid items = {channels, 1, Q8_CL_GROUP};
    const q8_cl_arg arg[] = {Q8_CL_ARG(x), Q8_CL_ARG(stats->state), Q8_CL_ARG(form), Q8_CL_ARG(n)};
    q8_code code = q8_cl_launch(run, Q8_CL_stats_extent, &by_channel, arg, 3, err);
    if (!code)
        code = q8_cl_launch(run, Q8_CL_stats_raise, &one, arg + 1, 2, err);
    if (!code)
        code = q8_cl_launch(run, Q8_CL_stats_count, &all, arg, 4, err);
    if (!code && form.pixels > 0)
        code = q8_cl_launch(run, Q8_CL_stats_channels, &items, arg, 3, err);
    return code;
}

q8_code q8_gpu_stats_read(q8_gpu_stats *stats, q8_gpu_counts *counts, q8_err *err)
{
    const size_t bytes = stats->words * sizeof(*stats->read);
    cl_int status = q8_cl.clEnqueueReadBuffer(stats->gpu->queue, stats->state, CL_TRUE, 0, bytes,
                                              stats->read, 0, NULL, NULL);
    if (!status)
        status = q8_cl.clEnqueueWriteBuffer(stats->gpu->queue, stats->state, CL_TRUE, 0, bytes,
                                            stats->empty, 0, NULL, NULL);
    if (status)
        return q8_cl_fail(stats->gpu, "hand statistics back", status, err);
    const cl_uint *word = stats->read;
    *counts = (q8_gpu_counts){.exponent = (int32_t)word[Q8_CL_STATS_EXPONENT],
                              .zeros = word[Q8_CL_STATS_ZEROS],
                              .not_finite = word[Q8_CL_STATS_NOT_FINITE],
                              .bin = word + Q8_CL_STATS_BINS};
    return Q8_OK;
}

q8_gpu_channel q8_gpu_stats_channel(const q8_gpu_stats *stats, int channel)
{
    const cl_uint *word =
        stats->read + Q8_CL_STATS_BINS + Q8_CL_HIST_BINS + (size_t)channel * stats->channel_words;
    const cl_uint *sum = word + Q8_CL_CHANNEL_SUM;
    return (q8_gpu_channel){
        .lo = (int32_t)word[Q8_CL_CHANNEL_LO],
        .hi = (int32_t)word[Q8_CL_CHANNEL_HI],
        .sum_lo = sum[0] | (uint64_t)sum[1] << 32,
        .sum_hi = (int64_t)(sum[2] | (uint64_t)sum[3] << 32),
        .top = (int32_t)word[Q8_CL_CHANNEL_TOP],
        .small = word[Q8_CL_CHANNEL_SMALL],
        .bin = word + Q8_CL_CHANNEL_BINS,
    };
}

#endif
