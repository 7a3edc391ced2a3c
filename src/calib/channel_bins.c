#include "calib/channel_bins.h"

#include <math.h>
#include <string.h>

/* A value's bits without those below the step: consecutive steps are consecutive numbers. */
enum { STEP_SHIFT = 19, INFINITE = 255 * Q8_CHANNEL_STEPS };

static uint32_t step_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return (bits & INT32_MAX) >> STEP_SHIFT;
}

/* The step of the lowest bin. */
static int32_t base_of(const q8_channel_bins *bins)
{
    return (bins->top - Q8_CHANNEL_OCTAVES + 1) * Q8_CHANNEL_STEPS;
}

void q8_channel_bins_init(q8_channel_bins *bins)
{
    *bins = (q8_channel_bins){.factor = 1};
}

/* Raises the highest octave to `top` if it is lower. */
static void raise_top(q8_channel_bins *bins, int32_t top)
{
    if (top <= bins->top)
        return;
    const int32_t rise = (top - bins->top) * Q8_CHANNEL_STEPS;
    const int32_t lost = rise < Q8_CHANNEL_BINS ? rise : Q8_CHANNEL_BINS;
    for (int i = 0; i < lost; i++)
        bins->small += bins->bin[i];
    memmove(bins->bin, bins->bin + lost, (size_t)(Q8_CHANNEL_BINS - lost) * sizeof(bins->bin[0]));
    memset(bins->bin + Q8_CHANNEL_BINS - lost, 0, (size_t)lost * sizeof(bins->bin[0]));
    bins->top = top;
}

static void count_step(q8_channel_bins *bins, int32_t step, uint32_t count)
{
    const int32_t i = step - base_of(bins);
    *(i < 0 || step == 0 ? &bins->small : &bins->bin[i]) += count;
}

static void add_value(q8_channel_bins *bins, float x)
{
    const int32_t step = (int32_t)step_of(x);
    if (step >= INFINITE)
        return;
    if (step / Q8_CHANNEL_STEPS > bins->top)
        raise_top(bins, step / Q8_CHANNEL_STEPS);
    count_step(bins, step, 1);
}

static size_t common_divisor(size_t a, size_t b)
{
    while (b) {
        const size_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The distance between the pixels looked at: as many as wanted over the plane, and not always the
 * same columns. */
static size_t pixel_step(const q8_shape *shape, size_t spatial)
{
    const size_t width = (size_t)shape->dim[shape->rank - 1];
    size_t step = spatial / Q8_CHANNEL_PIXELS;
    while (step > 1 && common_divisor(step, width) > 1)
        step--;
    return step > 0 ? step : 1;
}

void q8_channel_bins_add(q8_channel_bins *bins, const q8_view *view, int picture)
{
    const size_t spatial = q8_shape_spatial(&view->shape), block = (size_t)view->block;
    const size_t channels = (size_t)view->shape.dim[0];
    const size_t blocks = (channels + block - 1) / block;
    const size_t step = pixel_step(&view->shape, spatial);
    const size_t pixels = spatial < Q8_CHANNEL_PIXELS ? spatial : Q8_CHANNEL_PIXELS;
    const float *plane = view->data + (size_t)picture * blocks * block * spatial;
    for (size_t c = 0; c < channels; c += block, plane += block * spatial) {
        const size_t lanes = channels - c < block ? channels - c : block;
        for (size_t p = 0; p < pixels; p++) {
            const float *x = plane + (step / 2 + p * step) * block;
            for (size_t lane = 0; lane < lanes; lane++)
                add_value(&bins[c + lane], x[lane]);
        }
    }
}

void q8_channel_bins_merge(q8_channel_bins *into, const q8_channel_bins *from)
{
    raise_top(into, from->top);
    into->small += from->small;
    const int32_t base = base_of(from);
    for (int i = 0; i < Q8_CHANNEL_BINS; i++)
        if (from->bin[i])
            count_step(into, base + i, from->bin[i]);
}

uint64_t q8_channel_bins_count(const q8_channel_bins *bins)
{
    uint64_t count = bins->small;
    for (int i = 0; i < Q8_CHANNEL_BINS; i++)
        count += bins->bin[i];
    return count;
}

double q8_channel_bins_edge(const q8_channel_bins *bins, int i)
{
    const int32_t step = base_of(bins) + i;
    const int32_t octave = step >= 0 ? step / Q8_CHANNEL_STEPS : 0;
    const double part = (double)(step % Q8_CHANNEL_STEPS) / Q8_CHANNEL_STEPS;
    const double factor = (double)bins->factor;
    if (octave == 0) /* subnormal numbers, whose steps are even */
        return step > 0 ? ldexp(factor * part, -126) : 0;
    return ldexp(factor * (1 + part), octave - 127);
}
