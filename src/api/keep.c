#include "api/keep.h"

#include <string.h>

#include "base/words.h"

/* A group that has been split is its layer's name and this with a number. */
static bool is_group_of(const char *node, const char *layer)
{
    static const char group[] = "_group";
    const size_t n = strlen(layer);
    if (strncmp(node, layer, n) != 0 || strncmp(node + n, group, sizeof(group) - 1) != 0)
        return false;
    const char *number = node + n + sizeof(group) - 1;
    return *number && number[strspn(number, "0123456789")] == '\0';
}

static bool is_layer(const q8_graph *graph, const char *name)
{
    for (int i = 0; i < graph->n_nodes; i++)
        if (strcmp(graph->node[i]->name, name) == 0)
            return true;
    return false;
}

static q8_code unknown(const q8_graph *graph, const char *name, q8_err *err)
{
    const char *nearest = NULL;
    size_t best = strlen(name) / 3 + 2;
    for (int i = 0; i < graph->n_nodes; i++) {
        const size_t d = q8_word_distance(name, graph->node[i]->name);
        if (d < best) {
            best = d;
            nearest = graph->node[i]->name;
        }
    }
    if (nearest)
        return q8_fail(err, Q8_EINVAL, NULL, NULL,
                       "there is no layer '%s' to keep in float; did you mean '%s'?", name,
                       nearest);
    return q8_fail(err, Q8_EINVAL, NULL, NULL, "there is no layer '%s' to keep in float", name);
}

q8_code q8_keep_float(const q8_model *model, q8_graph *graph, const q8_quant_opts *opts,
                      q8_err *err)
{
    for (size_t k = 0; k < opts->n_keep_float; k++) {
        const char *name = opts->keep_float[k];
        const bool asked = k + opts->n_for_accuracy < opts->n_keep_float;
        /* Groups may be named as such too: q8_model_layer() tells their names. */
        const bool whole = is_layer(model->unsplit, name);
        if (!whole && !is_layer(graph, name))
            return unknown(model->unsplit, name, err);
        for (int i = 0; i < graph->n_nodes; i++) {
            q8_node *node = graph->node[i];
            if (strcmp(node->name, name) != 0 && !(whole && is_group_of(node->name, name)))
                continue;
            node->float_reason =
                asked ? "kept in float as asked" : "kept in float to reach the accuracy";
        }
    }
    return Q8_OK;
}
