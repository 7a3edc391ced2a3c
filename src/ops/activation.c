#include "ops/activation.h"

#include <math.h>

/* Parameters by ncnn's activation_type. */
static const int n_params[] = {
    [Q8_ACT_NONE] = 0,    [Q8_ACT_RELU] = 0, [Q8_ACT_LEAKY] = 1,  [Q8_ACT_CLIP] = 2,
    [Q8_ACT_SIGMOID] = 0, [Q8_ACT_MISH] = 0, [Q8_ACT_HSWISH] = 2,
};

q8_code q8_activation_check(const q8_activation *act, const q8_node *node, q8_err *err)
{
    if (act->type < 0 || act->type > Q8_ACT_HSWISH)
        return q8_fail(err, Q8_EUNSUPPORTED, &node->loc, node->name,
                       "activation type %d is unknown", act->type);
    if (act->params.n < n_params[act->type])
        return q8_fail(err, Q8_EMODEL, &node->loc, node->name,
                       "activation type %d needs %d parameters and has %d", act->type,
                       n_params[act->type], act->params.n);
    return Q8_OK;
}

static double clip(double x, double min, double max)
{
    return x < min ? min : x > max ? max : x;
}

float q8_activate(const q8_activation *act, float x)
{
    const float *param = act->params.v;
    switch ((q8_act_type)act->type) {
    case Q8_ACT_NONE:
        break;
    case Q8_ACT_RELU:
        return x < 0 ? 0 : x;
    case Q8_ACT_LEAKY:
        return x < 0 ? x * param[0] : x;
    case Q8_ACT_CLIP:
        return (float)clip(x, param[0], param[1]);
    case Q8_ACT_SIGMOID:
        return (float)(1 / (1 + exp(-(double)x)));
    case Q8_ACT_MISH:
        /* ln(1 + e^x) is x itself long before e^x overflows. */
        return (float)(x * tanh(x > 40 ? (double)x : log1p(exp(x))));
    case Q8_ACT_HSWISH:
        return (float)(x * clip((double)x * param[0] + param[1], 0, 1));
    }
    return x;
}

/* Kept apart so that it becomes vector code; the bounds are floats, so this is what clip() gives.
 */
static void clip_array(float *x, size_t count, float min, float max)
{
    for (size_t i = 0; i < count; i++) {
        const float above = x[i] < min ? min : x[i];
        x[i] = above > max ? max : above;
    }
}

void q8_activate_array(const q8_activation *act, float *x, size_t count)
{
    if (act->type == Q8_ACT_CLIP && act->params.v[0] <= act->params.v[1])
        clip_array(x, count, act->params.v[0], act->params.v[1]);
    else if (act->type == Q8_ACT_RELU)
        for (size_t i = 0; i < count; i++)
            x[i] = x[i] < 0 ? 0 : x[i];
    else if (act->type != Q8_ACT_NONE)
        for (size_t i = 0; i < count; i++)
            x[i] = q8_activate(act, x[i]);
}
