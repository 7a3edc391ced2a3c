/*
 * R. Banner, Y. Nahshan, D. Soudry, "Post training 4-bit quantization of convolutional networks for
 * rapid-deployment", NeurIPS 2019: the clip value of least squared error for a Laplace or a normal
 * distribution that has the data's moments.
 *
 * With L = levels - 1 steps the rounding error is clip^2 / (12 L^2). Least is, for Laplace of mean
 * |x| b, where exp(-clip / b) = clip / b / (12 L^2); for a normal distribution of deviation 1,
 * where 2 clip erfc(clip / sqrt 2) - sqrt(8 / pi) exp(-clip^2 / 2) + clip / (6 L^2) = 0.
 *
 * Values of 0 are without error and belong to neither distribution: after a ReLU they are most.
 */
#include <math.h>

#include "calib/threshold.h"
#include "calib/threshold_method.h"

/* Solutions of the two equations. */
struct optimum {
    double laplace, normal;
};

static const struct optimum for_signed = {9.882513899991627, 3.920637457573123};
static const struct optimum for_shifted = {11.148289138211311, 4.213107006311955};

/* mean(|x|)^2 / mean(x^2) is 1/2 for Laplace and 2/pi for a normal distribution; between. */
#define BETWEEN 0.5683098861837907

double q8_clip_aciq(const q8_span *span, int levels)
{
    const struct optimum *best = levels == Q8_LEVELS_SHIFTED ? &for_shifted : &for_signed;
    double sum = 0, squares = 0;
    for (int i = 0; i < span->n; i++) {
        const double count = (double)span->hist->bin[i], middle = i + 0.5;
        sum += count * middle;
        squares += count * middle * middle;
    }
    const double mean = sum / span->values, power = squares / span->values;
    return mean * mean < BETWEEN * power ? best->laplace * mean : best->normal * sqrt(power);
}
