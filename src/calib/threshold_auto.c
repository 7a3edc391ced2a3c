/* The threshold with the least error as a tensor's readers see it. */
#include <math.h>
#include <string.h>

#include "calib/threshold.h"
#include "calib/threshold_method.h"

/* Bins of |x| in steps of a double's exponent and its highest mantissa bits, 64 to the octave. What
 * is below the lowest rounds to 0 at any threshold that is tried, or nearly. */
enum { STEP_SHIFT = 52 - 6, BINS = 64 * 16 };

/* All channels' values in one histogram: per unit of |x|, what an error in them costs. */
struct costs {
    int64_t base; /* the step of bin 0 */
    double edge[BINS + 1];
    double cost[BINS];
};

static int64_t step_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return (int64_t)(bits >> STEP_SHIFT);
}

static double edge_of(int64_t step)
{
    const uint64_t bits = (uint64_t)step << STEP_SHIFT;
    double x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static void open_costs(struct costs *costs, double absmax)
{
    memset(costs, 0, sizeof(*costs));
    costs->base = step_of(absmax) + 1 - BINS;
    for (int i = 0; i <= BINS; i++)
        costs->edge[i] = edge_of(costs->base + i);
}

/* Values spread evenly from `low` to `high`, `density` of cost per unit. */
static void add_values(struct costs *costs, double low, double high, double density)
{
    const int64_t first = step_of(low) - costs->base;
    for (int64_t i = first > 0 ? first : 0; i < BINS && costs->edge[i] < high; i++) {
        const double from = fmax(low, costs->edge[i]), to = fmin(high, costs->edge[i + 1]);
        costs->cost[i] += (to - from) / (costs->edge[i + 1] - costs->edge[i]) * density;
    }
}

static void add_channel(struct costs *costs, const q8_channel_bins *bins, double absmax,
                        double cost)
{
    const double count = (double)q8_channel_bins_count(bins);
    for (int i = 0; i < Q8_CHANNEL_BINS; i++) {
        const double low = q8_channel_bins_edge(bins, i);
        const double high = fmin(absmax, q8_channel_bins_edge(bins, i + 1));
        if (bins->bin[i] > 0 && high > low)
            add_values(costs, low, high, cost * bins->bin[i] / count / (high - low));
    }
}

/* Integral from 0 to x of the squared error of clipping and rounding. */
static double error_to(double x, double clip, double step)
{
    const double inside = x < clip ? x : clip, beyond = x - inside;
    const double k = floor(inside / step + 0.5), rest = inside - k * step;
    return k * step * step * step / 12 + (rest * rest * rest + beyond * beyond * beyond) / 3;
}

static double total_cost(const struct costs *costs, double clip, int levels)
{
    const double step = clip / (levels - 1);
    double total = 0, from = error_to(costs->edge[0], clip, step);
    for (int i = 0; i < BINS; i++) {
        const double to = error_to(costs->edge[i + 1], clip, step);
        total += costs->cost[i] * (to - from);
        from = to;
    }
    return total;
}

double q8_clip_auto(const q8_stats *stats, double absmax, const double *cost, int levels)
{
    struct costs costs;
    double best = absmax, least = INFINITY;
    open_costs(&costs, absmax);
    for (int c = 0; c < stats->channels; c++)
        add_channel(&costs, &stats->channel_bins[c], absmax, cost[c]);
    for (double clip = absmax; clip * 4096 > absmax; clip *= Q8_CLIP_FINER) {
        const double total = total_cost(&costs, clip, levels);
        if (total < least) {
            least = total;
            best = clip;
        }
    }
    return best;
}
