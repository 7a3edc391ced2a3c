/* Gives every tensor a name of its own. */
#include "passes/passes.h"

#include <string.h>

#define HASH_NONFATAL_OOM 1 /* leaves hh.tbl NULL when out of memory */
#include <uthash.h>

#include "ops/rows.h"

struct owner {
    const char *name;
    int tensor;
    int numbered; /* how many names were made by putting a number behind this one */
    UT_hash_handle hh;
};

static struct owner *find(struct owner *owners, const char *name)
{
    struct owner *owner;
    HASH_FIND_STR(owners, name, owner);
    return owner;
}

static bool own(q8_graph *graph, struct owner **owners, const char *name, int tensor)
{
    struct owner *owner = q8_arena_alloc(graph->arena, sizeof(*owner));
    if (!name || !owner)
        return false;
    *owner = (struct owner){.name = name, .tensor = tensor};
    HASH_ADD_KEYPTR(hh, *owners, owner->name, strlen(owner->name), owner);
    return owner->hh.tbl != NULL;
}

/* Hands names out: to the network's inputs, then from the last tensor to the first. */
static bool choose_owners(q8_graph *graph, struct owner **owners)
{
    for (int inputs = 1; inputs >= 0; inputs--)
        for (int i = graph->n_nodes - 1; i >= 0; i--) {
            const q8_node *node = graph->node[i];
            for (int k = 0; k < node->n_out && (node->op == &q8_op_input) == inputs; k++) {
                const char *name = graph->tensor[node->out[k]].name;
                if (!find(*owners, name) && !own(graph, owners, name, node->out[k]))
                    return false;
            }
        }
    return true;
}

static bool rename_tensor(q8_graph *graph, struct owner **owners, int tensor, const char *maker)
{
    const char *base = graph->tensor[tensor].name;
    const char *name = q8_arena_printf(graph->arena, "%s_%s", base, maker);
    struct owner *first = name ? find(*owners, name) : NULL;
    while (name && find(*owners, name)) /* on from where the last one stopped */
        name = q8_arena_printf(graph->arena, "%s_%s_%d", base, maker, ++first->numbered + 1);
    graph->tensor[tensor].name = name;
    return own(graph, owners, name, tensor);
}

q8_code q8_pass_unique_names(q8_graph *graph, q8_err *err)
{
    struct owner *owners = NULL;
    bool ok = choose_owners(graph, &owners);
    for (int i = 0; ok && i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        for (int k = 0; ok && k < node->n_out; k++) {
            const int tensor = node->out[k];
            if (find(owners, graph->tensor[tensor].name)->tensor != tensor)
                ok = rename_tensor(graph, &owners, tensor, node->name);
        }
    }
    HASH_CLEAR(hh, owners);
    return ok ? Q8_OK : q8_fail_nomem(err);
}
