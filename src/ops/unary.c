#include "ops/unary.h"

#include <string.h>

void q8_unary_forward(const q8_forward *f, q8_unary_fn fn)
{
    const size_t count = q8_shape_count(&f->in_shape[0]);
    for (size_t i = 0; i < count; i++)
        f->out[0][i] = fn(f->node, f->in[0][i]);
}

q8_code q8_unary_infer(const q8_node *node, const q8_shape *in, q8_shape *out, q8_err *err)
{
    (void)err;
    for (int i = 0; i < node->n_out; i++)
        out[i] = in[0];
    return Q8_OK;
}

bool q8_make_activation(q8_arena *arena, q8_activation *act, q8_act_type type, const float *params,
                        int n)
{
    float *copy = q8_arena_array(arena, (size_t)n, sizeof(*copy));
    if (!copy)
        return false;
    if (n > 0)
        memcpy(copy, params, (size_t)n * sizeof(*copy));
    *act = (q8_activation){.type = type, .params = {.n = n, .v = copy}};
    return true;
}
