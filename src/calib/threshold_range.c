/* Methods that look at the largest values only. */
#include "calib/threshold_method.h"

/* Nothing is clipped. */
double q8_clip_minmax(const q8_span *span, int levels)
{
    (void)levels;
    return span->absmax;
}

/*
 * What 99.99 % of all values, zeros included, do not exceed: H. Wu et al., "Integer Quantization
 * for Deep Learning Inference: Principles and Empirical Evaluation", 2020, where 99.9 % clips too
 * much and 99.9999 % too little for some networks. Where the percentile is 0, nothing is clipped.
 */
double q8_clip_percentile(const q8_span *span, int levels)
{
    (void)levels;
    const double above = (span->values + (double)span->hist->zeros) * 0.0001;
    double seen = 0;
    if (above >= span->values)
        return span->absmax;
    for (int i = span->n - 1; i > 0; i--) {
        const double count = (double)span->hist->bin[i];
        if (seen + count > above)
            return i + 1 - (above - seen) / count;
        seen += count;
    }
    return 1;
}
