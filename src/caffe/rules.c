#include "caffe/rules.h"

#include <string.h>

static bool has_stage(const Caffe__NetState *state, const char *stage)
{
    for (size_t i = 0; state && i < state->n_stage; i++)
        if (strcmp(state->stage[i], stage) == 0)
            return true;
    return false;
}

static bool is_met(const Caffe__NetState *state, const Caffe__NetStateRule *rule)
{
    const int level = 0;
    if (rule->has_phase && rule->phase != CAFFE__PHASE__TEST)
        return false;
    if (rule->has_min_level && level < rule->min_level)
        return false;
    if (rule->has_max_level && level > rule->max_level)
        return false;
    for (size_t i = 0; i < rule->n_stage; i++)
        if (!has_stage(state, rule->stage[i]))
            return false;
    for (size_t i = 0; i < rule->n_not_stage; i++)
        if (has_stage(state, rule->not_stage[i]))
            return false;
    return true;
}

static bool is_any_met(const Caffe__NetState *state, Caffe__NetStateRule *const *rule, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (is_met(state, rule[i]))
            return true;
    return false;
}

bool q8_caffe_is_included(const Caffe__NetParameter *net, const Caffe__LayerParameter *layer)
{
    if (layer->n_include)
        return is_any_met(net->state, layer->include, layer->n_include);
    return !is_any_met(net->state, layer->exclude, layer->n_exclude);
}
