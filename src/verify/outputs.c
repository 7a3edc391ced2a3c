#include "verify/outputs.h"

#include <math.h>

#include "ops/rows.h"
#include "ops/simple.h"

/* --- form ------------------------------------------------------------------------------------- */

/* The node that computes a tensor: layers that only hand their input on are passed by. */
static const q8_node *source_of(const q8_graph *graph, const q8_uses *uses, int tensor)
{
    const q8_node *node = NULL;
    while (uses->producer[tensor] >= 0) {
        node = graph->node[uses->producer[tensor]];
        const bool passes = node->n_in == 1 && node->op->is_identity &&
                            node->op->is_identity(node, &graph->tensor[node->in[0]].shape,
                                                  &graph->tensor[tensor].shape);
        if (!passes)
            break;
        tensor = node->in[0];
    }
    return node;
}

static void set_distribution(q8_output_form *form, const q8_graph *graph, const q8_node *softmax)
{
    const q8_softmax_attr *a = softmax->attr;
    const q8_shape *shape = &graph->tensor[softmax->out[0]].shape;
    const int axis = a->axis < 0 ? a->axis + shape->rank : a->axis;
    form->distribution = true;
    form->classes = (size_t)shape->dim[axis];
    form->stride = 1;
    for (int i = axis + 1; i < shape->rank; i++)
        form->stride *= (size_t)shape->dim[i];
    form->rows = q8_shape_count(shape) / form->classes;
}

q8_code q8_output_form_of(q8_output_form *form, const q8_graph *exact, const q8_graph *int8,
                          int index, q8_err *err)
{
    q8_uses uses;
    const int tensor = exact->output[index];
    const q8_tensor *changed = &int8->tensor[int8->output[index]];
    const q8_shape shape = exact->tensor[tensor].shape;
    *form = (q8_output_form){.shape = shape, .factor = changed->factor, .shift = changed->shift};
    if (!q8_graph_uses(exact, &uses))
        return q8_fail_nomem(err);
    const q8_node *source = source_of(exact, &uses, tensor);
    if (source && source->op == &q8_op_softmax) {
        set_distribution(form, exact, source);
    } else if (q8_shape_spatial(&shape) == 1 && shape.dim[0] > 1) {
        form->classes = (size_t)shape.dim[0];
        form->stride = form->rows = 1;
    }
    return Q8_OK;
}

/* --- one picture ------------------------------------------------------------------------------ */

double q8_cosine(double dot, double power_a, double power_b)
{
    if (power_a == 0 || power_b == 0)
        return power_a == power_b;
    const double cosine = dot / (sqrt(power_a) * sqrt(power_b));
    return cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
}

static void map_back(const q8_output_form *form, float *y)
{
    const size_t area = q8_shape_spatial(&form->shape);
    for (int c = 0; c < form->shape.dim[0]; c++)
        for (size_t i = 0; i < area; i++, y++)
            *y = (*y - form->shift) / (form->factor ? form->factor[c] : 1);
}

static void add_distance(q8_output_sums *sums, size_t n, const float *x, const float *y)
{
    double signal = 0, noise = 0, dot = 0, power = 0;
    for (size_t i = 0; i < n; i++) {
        const double a = (double)x[i], b = (double)y[i];
        signal += a * a;
        noise += (b - a) * (b - a);
        dot += a * b;
        power += b * b;
    }
    q8_exact_sum_add(&sums->signal, signal);
    q8_exact_sum_add(&sums->noise, noise);
    q8_exact_sum_add(&sums->cosine, q8_cosine(dot, signal, power));
}

size_t q8_largest(const float *x, size_t n, size_t stride)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i * stride] > x[best * stride])
            best = i;
    return best;
}

/* A probability that fp32 cannot hold counts as 1e-30. */
static double divergence(const float *p, const float *q, size_t n, size_t stride)
{
    double sum = 0;
    for (size_t i = 0; i < n * stride; i += stride)
        if (p[i] > 0)
            sum += (double)p[i] * log((double)fmaxf(p[i], 1e-30f) / (double)fmaxf(q[i], 1e-30f));
    return sum;
}

static void add_rows(q8_output_sums *sums, const q8_output_form *form, const float *x,
                     const float *y)
{
    double kl = 0;
    for (size_t r = 0; r < form->rows; r++) {
        const size_t at = r / form->stride * form->stride * form->classes + r % form->stride;
        sums->agreed += q8_largest(x + at, form->classes, form->stride) ==
                        q8_largest(y + at, form->classes, form->stride);
        if (form->distribution)
            kl += divergence(x + at, y + at, form->classes, form->stride);
    }
    sums->rows += form->rows;
    q8_exact_sum_add(&sums->kl, kl);
}

void q8_output_add(q8_output_sums *sums, const q8_output_form *form, const float *x, float *y)
{
    if (form->factor || form->shift != 0)
        map_back(form, y);
    add_distance(sums, q8_shape_count(&form->shape), x, y);
    if (form->classes)
        add_rows(sums, form, x, y);
}

void q8_output_merge(q8_output_sums *into, const q8_output_sums *from)
{
    q8_exact_sum_merge(&into->signal, &from->signal);
    q8_exact_sum_merge(&into->noise, &from->noise);
    q8_exact_sum_merge(&into->cosine, &from->cosine);
    q8_exact_sum_merge(&into->kl, &from->kl);
    into->rows += from->rows;
    into->agreed += from->agreed;
}
