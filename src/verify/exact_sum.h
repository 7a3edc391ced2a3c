/** A sum of doubles that is exact, so that the order of adding and merging does not matter. */
#ifndef Q8_VERIFY_EXACT_SUM_H
#define Q8_VERIFY_EXACT_SUM_H

#include <stdbool.h>

enum { Q8_EXACT_SUM_BINS = 64 };

/** Zero-initialised is 0. */
typedef struct q8_exact_sum {
    /** Bin i is in units of 2^(32 i - 1074); a bin is full after 2^42 numbers. */
    __extension__ __int128 bin[Q8_EXACT_SUM_BINS];
    bool not_finite; /**< something that is no number was added */
} q8_exact_sum;

void q8_exact_sum_add(q8_exact_sum *sum, double x);
void q8_exact_sum_merge(q8_exact_sum *into, const q8_exact_sum *from);
/** NaN once anything not finite was added. */
double q8_exact_sum_value(const q8_exact_sum *sum);

#endif
