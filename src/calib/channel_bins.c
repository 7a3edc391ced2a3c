#include "calib/channel_bins.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/simd.h"

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

void q8_channel_pixels(const q8_shape *shape, size_t *first, size_t *step, size_t *n)
{
    const size_t spatial = q8_shape_spatial(shape);
    *step = pixel_step(shape, spatial);
    *first = *step / 2;
    *n = spatial < Q8_CHANNEL_PIXELS ? spatial : Q8_CHANNEL_PIXELS;
}

/* Where a view's samples come from and go to: block of channels after block, in each pixel after
 * pixel. Where a pixel's channels lie together they are blocks side by side. */
struct form {
    size_t blocks, pixels, block;
    size_t first, step;         /* of the pixels */
    size_t picture, next_block; /* floats from one to the next */
    size_t pixel;
    size_t last; /* channels of the last block; what pads it is not read, NaN may be there */
};

static struct form form_of(const q8_view *view)
{
    const size_t spatial = q8_shape_spatial(&view->shape), channels = (size_t)view->shape.dim[0];
    const size_t pixel = (size_t)view->block;
    size_t first, step, pixels;
    q8_channel_pixels(&view->shape, &first, &step, &pixels);
    const bool together = pixel == channels && channels > Q8_CHANNEL_LANES;
    const size_t block = together ? Q8_CHANNEL_LANES : pixel;
    const size_t blocks = (channels + block - 1) / block;
    return (struct form){
        .blocks = blocks,
        .pixels = pixels,
        .block = block,
        .first = first,
        .step = step,
        .picture = together ? channels * spatial : blocks * block * spatial,
        .next_block = together ? block : block * spatial,
        .pixel = pixel,
        .last = channels - (blocks - 1) * block,
    };
}

/* Samples of one block of channels of one picture. */
static size_t block_samples(const struct form *f)
{
    return f->pixels * f->block;
}

static void sample_block(const q8_view *view, int picture, size_t block, const struct form *f,
                         uint16_t *out)
{
    const float *plane = view->data + (size_t)picture * f->picture + block * f->next_block;
    const size_t lanes = block + 1 < f->blocks ? f->block : f->last;
    for (size_t p = 0; p < f->pixels; p++, out += f->block) {
        const float *x = plane + (f->first + p * f->step) * f->pixel;
        for (size_t lane = 0; lane < lanes; lane++)
            out[lane] = (uint16_t)step_of(x[lane]);
        for (size_t lane = lanes; lane < f->block; lane++)
            out[lane] = 0;
    }
}

/* A block of channels' samples in several pictures, which lie `picture` apart. */
struct series {
    const uint16_t *step;
    size_t n, lanes, picture;
    int pictures;
};

/* Of each lane's steps, those of values that are not finite left out. */
Q8_SIMD_CLONES
static void largest_steps(const struct series *s, uint16_t *largest)
{
    for (size_t lane = 0; lane < Q8_CHANNEL_LANES; lane++)
        largest[lane] = 0;
    for (int i = 0; i < s->pictures; i++) {
        const uint16_t *step = s->step + (size_t)i * s->picture;
        for (size_t k = 0; k < s->n; k++, step += s->lanes)
            for (size_t lane = 0; lane < s->lanes; lane++) {
                const uint16_t one = step[lane] < INFINITE ? step[lane] : 0;
                largest[lane] = one > largest[lane] ? one : largest[lane];
            }
    }
}

/* Where a step is counted: in the bins, or in one of these. */
enum { SMALL = Q8_CHANNEL_BINS, NONE };

Q8_SIMD_CLONES
static void find_places(const uint16_t *step, size_t n, size_t lanes, const int16_t *base,
                        uint8_t *place)
{
    for (size_t k = 0; k < n; k++, step += lanes, place += lanes)
        for (size_t lane = 0; lane < lanes; lane++) {
            const int16_t at = (int16_t)(step[lane] - base[lane]);
            const uint8_t finite = at < 0 || step[lane] == 0 ? SMALL : (uint8_t)at;
            place[lane] = step[lane] < INFINITE ? finite : NONE;
        }
}

Q8_SIMD_CLONES
static void add_counts(uint32_t *restrict bin, const uint16_t *restrict count)
{
    for (int i = 0; i < Q8_CHANNEL_BINS; i++)
        bin[i] += count[i];
}

/* How often each place is met, by lane. Tables that stay in the nearest cache, as all channels'
 * bins do not; and lanes take turns, as increments of one counter in quick succession wait for each
 * other. */
typedef uint16_t place_counts[Q8_CHANNEL_LANES][NONE + 1];

static void count_places(place_counts count, const uint8_t *place, size_t n, size_t lanes)
{
    for (size_t i = 0; i < n; i++, place += lanes)
        for (size_t lane = 0; lane < lanes; lane++)
            count[lane][place[lane]]++;
}

/* `s` has at most Q8_CHANNEL_QUEUE pictures; `channels` may be fewer than lanes. */
static void count_block(q8_channel_bins *bins, const struct series *s, size_t channels)
{
    uint8_t place[Q8_CHANNEL_QUEUE * Q8_CHANNEL_PIXELS * Q8_CHANNEL_LANES];
    uint16_t largest[Q8_CHANNEL_LANES];
    int16_t base[Q8_CHANNEL_LANES] = {0};
    largest_steps(s, largest);
    for (size_t c = 0; c < channels && c < s->lanes; c++) {
        raise_top(&bins[c], largest[c] / Q8_CHANNEL_STEPS);
        base[c] = (int16_t)base_of(&bins[c]);
    }
    for (int i = 0; i < s->pictures; i++)
        find_places(s->step + (size_t)i * s->picture, s->n, s->lanes, base,
                    place + (size_t)i * s->n * s->lanes);
    place_counts count = {{0}};
    count_places(count, place, s->n * (size_t)s->pictures, s->lanes);
    for (size_t c = 0; c < channels && c < s->lanes; c++) {
        bins[c].small += count[c][SMALL];
        add_counts(bins[c].bin, count[c]);
    }
}

void q8_channel_bins_add(q8_channel_bins *bins, const q8_view *view)
{
    const struct form f = form_of(view);
    const size_t channels = (size_t)view->shape.dim[0], n = block_samples(&f);
    uint16_t steps[Q8_CHANNEL_QUEUE * Q8_CHANNEL_PIXELS * Q8_CHANNEL_LANES];
    for (size_t b = 0; b < f.blocks; b++)
        for (int i = 0; i < view->batch; i += Q8_CHANNEL_QUEUE) {
            const int left = view->batch - i;
            const int now = left < Q8_CHANNEL_QUEUE ? left : Q8_CHANNEL_QUEUE;
            for (int k = 0; k < now; k++)
                sample_block(view, i + k, b, &f, steps + (size_t)k * n);
            const struct series series = {steps, f.pixels, f.block, n, now};
            count_block(bins + b * f.block, &series, channels - b * f.block);
        }
}

/* --- the queue -------------------------------------------------------------------------------- */

q8_code q8_channel_queue_add(q8_channel_queue *queue, q8_channel_bins *bins, const q8_view *view,
                             q8_err *err)
{
    const struct form f = form_of(view);
    const size_t n = block_samples(&f), picture = f.blocks * n;
    if (!queue->step) {
        queue->step = malloc(Q8_CHANNEL_QUEUE * picture * sizeof(*queue->step));
        if (!queue->step)
            return q8_fail_nomem(err);
    }
    queue->channels = (size_t)view->shape.dim[0];
    queue->pixels = f.pixels;
    queue->block = f.block;
    for (int i = 0; i < view->batch; i++) {
        for (size_t b = 0; b < f.blocks; b++)
            sample_block(view, i, b, &f, queue->step + (size_t)queue->pictures * picture + b * n);
        if (++queue->pictures == Q8_CHANNEL_QUEUE)
            q8_channel_queue_flush(queue, bins);
    }
    return Q8_OK;
}

void q8_channel_queue_flush(q8_channel_queue *queue, q8_channel_bins *bins)
{
    const size_t block = queue->block, n = queue->pixels * block;
    const size_t blocks = queue->pictures ? (queue->channels + block - 1) / block : 0;
    for (size_t b = 0; b < blocks; b++) {
        const struct series series = {queue->step + b * n, queue->pixels, block, blocks * n,
                                      queue->pictures};
        count_block(bins + b * block, &series, queue->channels - b * block);
    }
    queue->pictures = 0;
}

void q8_channel_queue_close(q8_channel_queue *queue)
{
    free(queue->step);
    *queue = (q8_channel_queue){0};
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

/* As ldexp(1, n), where that is a normal number, without the call. */
static double power_of_two(int n)
{
    const uint64_t bits = (uint64_t)(n + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

double q8_channel_bins_edge(const q8_channel_bins *bins, int i)
{
    const int32_t step = base_of(bins) + i;
    const int32_t octave = step >= 0 ? step / Q8_CHANNEL_STEPS : 0;
    const double part = (double)(step % Q8_CHANNEL_STEPS) / Q8_CHANNEL_STEPS;
    const double factor = (double)bins->factor;
    if (octave == 0) /* subnormal numbers, whose steps are even */
        return step > 0 ? factor * part * power_of_two(-126) : 0;
    return factor * (1 + part) * power_of_two(octave - 127);
}
