#include "ops/affine.h"

#include <math.h>

void q8_affine_forward(const q8_forward *f, q8_affine_fn factors)
{
    const size_t plane = q8_shape_spatial(&f->in_shape[0]);
    const float *in = f->in[0];
    float *out = f->out[0];
    for (int c = 0; c < f->in_shape[0].dim[0]; c++) {
        double a, b;
        factors(f->node, c, &a, &b);
        for (size_t i = 0; i < plane; i++)
            *out++ = (float)(a * *in++ + b);
    }
}

bool q8_affine_fill(const q8_node *node, int channels, q8_affine_fn factors, float *a, float *b)
{
    for (int c = 0; c < channels; c++) {
        double factor, shift;
        factors(node, c, &factor, &shift);
        a[c] = (float)factor;
        b[c] = (float)shift;
        if (!isfinite(a[c]) || !isfinite(b[c]))
            return false;
    }
    return true;
}

q8_code q8_affine_infer(const q8_node *node, int channels, const q8_shape *in, q8_shape *out,
                        q8_err *err)
{
    char text[64];
    if (channels != in[0].dim[0])
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "%s has values for %d channels, but its input is %s", node->op->type,
                       channels, q8_shape_text(&in[0], text));
    *out = in[0];
    return Q8_OK;
}
