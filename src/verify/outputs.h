/** What is measured at the network's outputs, picture by picture. */
#ifndef Q8_VERIFY_OUTPUTS_H
#define Q8_VERIFY_OUTPUTS_H

#include "graph/graph.h"
#include "verify/exact_sum.h"

/** How an output is to be read. */
typedef struct q8_output_form {
    q8_shape shape;
    const float *factor; /**< of the int8 network's, by channel; NULL: 1 */
    float shift;
    /** Classes are `stride` apart; `rows` sets of them, `stride` in each stretch of classes x
     *  stride. `classes` 0: it is neither distributions nor one vector. */
    size_t classes, stride, rows;
    bool distribution; /**< made by a Softmax */
} q8_output_form;

/** Finds out about output `index` of the float network. */
q8_code q8_output_form_of(q8_output_form *form, const q8_graph *exact, const q8_graph *int8,
                          int index, q8_err *err);

/** Sums over pictures. */
typedef struct q8_output_sums {
    q8_exact_sum signal, noise, cosine, kl;
    unsigned long long rows, agreed;
} q8_output_sums;

/** @param y the int8 network's values; mapped back here, in place */
void q8_output_add(q8_output_sums *sums, const q8_output_form *form, const float *x, float *y);
void q8_output_merge(q8_output_sums *into, const q8_output_sums *from);

/** The place of the largest of `n` values that are `stride` apart; the first of equal ones. */
size_t q8_largest(const float *x, size_t n, size_t stride);

/** Cosine from the sums of products; two vectors of zeros are alike, one of them is not. */
double q8_cosine(double dot, double power_a, double power_b);

#endif
