/* Trials of the layers that read one tensor. */
#include <stdlib.h>

#include "quant/quant.h"
#include "quant/trial.h"

static bool is_reader(const q8_node *node, int tensor)
{
    return node->n_in > 0 && node->in[0] == tensor && node->op->linear && node->op->set_int8 &&
           !node->float_reason;
}

bool q8_trials_have_readers(const q8_trials *trials, const q8_graph *graph, int tensor)
{
    bool any = false;
    for (int i = 0; i < graph->n_nodes; i++) {
        if (!is_reader(graph->node[i], tensor))
            continue;
        any = true;
        if (!q8_trials_have(trials, i))
            return false;
    }
    return any;
}

q8_code q8_readers_open(q8_readers *readers, const q8_trials *trials, const q8_graph *graph,
                        int tensor, const float *const *factor, const double *const *effect,
                        q8_err *err)
{
    const size_t nodes = (size_t)graph->n_nodes;
    *readers = (q8_readers){.trial = calloc(nodes, sizeof(*readers->trial)),
                            .effect = calloc(nodes, sizeof(*readers->effect))};
    if (!readers->trial || !readers->effect)
        return q8_fail_nomem(err);
    q8_code code = Q8_OK;
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        if (!is_reader(graph->node[i], tensor))
            continue;
        const int out = graph->node[i]->out[0];
        readers->effect[readers->n] = effect ? effect[out] : NULL;
        code = q8_trial_open(&readers->trial[readers->n++], trials, i, factor[tensor], factor[out],
                             err);
    }
    return code;
}

void q8_readers_close(q8_readers *readers)
{
    for (int i = 0; i < readers->n; i++)
        q8_trial_close(&readers->trial[i]);
    free(readers->trial);
    free(readers->effect);
    *readers = (q8_readers){0};
}

q8_code q8_readers_errors(const q8_readers *readers, const float *threshold, int n, int levels,
                          double *error, q8_err *err)
{
    double *one = malloc((size_t)n * sizeof(*one));
    q8_code code = one ? Q8_OK : q8_fail_nomem(err);
    for (int k = 0; k < n; k++)
        error[k] = 0;
    for (int i = 0; i < readers->n && !code; i++) {
        code =
            q8_trial_errors(&readers->trial[i], threshold, n, levels, readers->effect[i], one, err);
        for (int k = 0; k < n && !code; k++)
            error[k] += one[k];
    }
    free(one);
    return code;
}
