/* ncnn2table's "kl". Sums are made in its order and precision: which of two nearly equal
 * divergences is less can depend on that. */
#include <float.h>

#include "calib/log.h"
#include "calib/older_tools.h"

enum { BINS = Q8_NCNN_BINS, LEVELS = 128 };

#define EPSILON 0.0001f

/* The bins of a level: from `start` to `end`, the first and the last perhaps in part. */
struct level {
    int first, last;     /* whole bins: first to last - 1 */
    float before, after; /* parts of bins first - 1 and last */
};

static struct level level_at(int clip, int j)
{
    const int start = j * clip, end = start + clip; /* in units of 1 / LEVELS of a bin */
    const struct level l = {.first = (start + LEVELS - 1) / LEVELS, .last = end / LEVELS};
    return (struct level){.first = l.first,
                          .last = l.last,
                          .before = (float)(l.first * LEVELS - start) / LEVELS,
                          .after = (float)(end - l.last * LEVELS) / LEVELS};
}

static float level_mean(const float *p, int clip, const struct level *l)
{
    float sum = 0;
    if (l->before > 0)
        sum += l->before * p[l->first - 1];
    if (l->after > 0)
        sum += l->after * p[l->last];
    for (int k = l->first; k < l->last; k++)
        sum += p[k];
    return sum / ((float)clip / LEVELS);
}

static void add_level(float *q, float mean, const struct level *l)
{
    if (l->before > 0)
        q[l->first - 1] += l->before * mean;
    if (l->after > 0)
        q[l->last] += l->after * mean;
    for (int k = l->first; k < l->last; k++)
        q[k] += mean;
}

static float divergence(const float *p, int clip)
{
    float clipped[BINS], expanded[BINS], sum = 0;
    for (int i = 0; i < clip; i++) {
        clipped[i] = EPSILON + p[i];
        expanded[i] = EPSILON;
    }
    for (int i = clip; i < BINS; i++)
        clipped[clip - 1] += p[i];
    for (int j = 0; j < LEVELS; j++) {
        const struct level l = level_at(clip, j);
        add_level(expanded, level_mean(p, clip, &l), &l);
    }
    for (int i = 0; i < clip; i++)
        sum += clipped[i] * (float)q8_log((double)(clipped[i] / expanded[i]));
    return sum;
}

float q8_threshold_ncnn(const uint64_t *bin, float absmax)
{
    float p[BINS], least = FLT_MAX;
    uint64_t total = 0;
    int best = LEVELS;
    for (int i = 0; i < BINS; i++)
        total += bin[i];
    for (int i = 0; i < BINS; i++)
        p[i] = (float)((double)bin[i] / (double)total);
    for (int clip = LEVELS; clip < BINS; clip++) {
        const float d = divergence(p, clip);
        if (d < least) {
            least = d;
            best = clip;
        }
    }
    return ((float)best + 0.5f) * absmax / BINS;
}
