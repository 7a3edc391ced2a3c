#include "calib/hist.h"

#include <math.h>
#include <string.h>

#include "base/simd.h"

/* No counter overflows: one table takes at most every fourth value, and the odd ones of a run's
 * end. */
enum { MAX_WAITING = 32768 * Q8_BIN_TABLES };

/* Bin i moves to bin i >> shift_for(doublings of the range); beyond 12 all are in bin 0. */
static int shift_for(int32_t doublings)
{
    return doublings < 31 ? doublings : 31;
}

void q8_hist_raise(q8_hist *hist, int32_t exponent)
{
    if (hist->exponent >= exponent)
        return;
    if (hist->exponent != Q8_HIST_EMPTY) {
        const int shift = shift_for(exponent - hist->exponent);
        for (int i = 0; i < Q8_HIST_BINS; i++) {
            const uint64_t count = hist->bin[i];
            hist->bin[i] = 0;
            hist->bin[i >> shift] += count;
        }
    }
    hist->exponent = exponent;
}

float q8_hist_scale(const q8_hist *hist)
{
    return hist->exponent == Q8_HIST_EMPTY ? 1 : ldexpf(Q8_HIST_BINS, -hist->exponent);
}

void q8_hist_merge(q8_hist *into, const q8_hist *from)
{
    into->zeros += from->zeros;
    into->not_finite += from->not_finite;
    if (from->exponent == Q8_HIST_EMPTY)
        return;
    q8_hist_raise(into, from->exponent);
    const int shift = shift_for(into->exponent - from->exponent);
    for (int i = 0; i < Q8_HIST_BINS; i++)
        into->bin[i >> shift] += from->bin[i];
}

/* The smallest exponent whose range holds the value. */
static int32_t exponent_of(uint32_t abs_bits)
{
    const int32_t exponent = (int32_t)(abs_bits >> 23) - 126;
    return exponent > Q8_HIST_MIN_EXPONENT ? exponent : Q8_HIST_MIN_EXPONENT;
}

void q8_binner_open(q8_binner *binner, q8_hist *hist)
{
    memset(binner, 0, sizeof(*binner));
    binner->hist = hist;
}

Q8_SIMD_CLONES
static void add_tables(uint64_t *restrict bin, const uint16_t (*restrict table)[Q8_HIST_BINS])
{
    for (int i = 0; i < Q8_HIST_BINS; i++) {
        uint32_t sum = 0;
        for (int t = 0; t < Q8_BIN_TABLES; t++)
            sum += table[t][i];
        bin[i] += sum;
    }
}

void q8_binner_flush(q8_binner *binner)
{
    add_tables(binner->hist->bin, (const uint16_t(*)[Q8_HIST_BINS])binner->table);
    memset(binner->table, 0, sizeof(binner->table));
    binner->waiting = 0;
}

bool q8_binner_fit(q8_binner *binner, uint32_t absmax_bits)
{
    const int32_t exponent = absmax_bits ? exponent_of(absmax_bits) : Q8_HIST_EMPTY;
    if (exponent <= binner->hist->exponent)
        return false;
    q8_binner_flush(binner);
    q8_hist_raise(binner->hist, exponent);
    return true;
}

void q8_binner_add(q8_binner *binner, const int32_t *bin, size_t n)
{
    if (binner->waiting + n > MAX_WAITING)
        q8_binner_flush(binner);
    size_t i = 0;
    for (; i + Q8_BIN_TABLES <= n; i += Q8_BIN_TABLES)
        for (size_t t = 0; t < Q8_BIN_TABLES; t++)
            binner->table[t][bin[i + t]]++;
    for (; i < n; i++)
        binner->table[0][bin[i]]++;
    binner->waiting += (uint32_t)n;
}
