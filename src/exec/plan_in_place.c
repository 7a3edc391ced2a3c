/* Nodes that need no memory of their own: their outputs are other tensors' memory. */
#include "exec/layout.h"
#include "exec/planner.h"
#include "ops/rows.h"
#include "ops/simple.h"

/* --- other names ------------------------------------------------------------------------------ */

bool q8_plan_passes_through(const q8_node *node, const q8_edges *e)
{
    return node->n_in == 1 && node->op->is_identity && node->op->is_identity(node, e->in, e->out);
}

/* Only a changed shape needs plain order. */
q8_code q8_plan_alias(q8_planner *p, const q8_node *node, const q8_edges *e)
{
    int block = p->place[node->in[0]].block, part;
    for (int i = 0; i < node->n_out && block != Q8_ON_GPU; i++)
        if (!q8_shape_equal(&e->in[0], &e->out[i]))
            block = 1;
    q8_code code = q8_planner_get_part(p, node->in[0], block, &part);
    if (code)
        return code;
    for (int i = 0; i < node->n_out; i++)
        q8_planner_set_made(p, node->out[i], block, part);
    return Q8_OK;
}

/* --- concatenations in place ------------------------------------------------------------------ */

/* Does the concatenation put its inputs, as they lie in memory, one behind the other? Only for a
 * picture at a time, and where nothing reads an input as a batch of its own. */
static bool inputs_lie_in_a_row(const q8_planner *p, const q8_node *node, const q8_edges *e)
{
    const q8_concat_attr *a = node->attr;
    if (p->batch != 1 || (a->axis != 0 && a->axis != -e->out[0].rank))
        return false;
    for (int i = 0; i < node->n_in; i++) {
        if (e->in_block[i] != e->in_block[0] || e->in_block[i] == Q8_CHANNELS_LAST)
            return false;
        const int block = q8_layout_block(&e->in[i], e->in_block[i]);
        const size_t bytes = q8_layout_count(&e->in[i], block) * sizeof(float);
        if (e->in[i].dim[0] % block || bytes % Q8_SLAB_ALIGN ||
            p->place[node->in[i]].last_use >= p->front)
            return false;
    }
    return true;
}

/* The part a tensor was made in, if it may become a piece of a larger one: of a batch, a piece's
 * pictures would not follow each other. */
static q8_slab_part *free_part(const q8_planner *p, int tensor)
{
    const q8_place *place = &p->place[tensor];
    const int index = place->part[q8_place_index(place->block)];
    q8_slab_part *part = &p->exec->part[index];
    return part->whole || (p->exec->batch > 1 && p->in_batch[index]) ? NULL : part;
}

q8_code q8_plan_concat(q8_planner *p, const q8_node *node, const q8_edges *e, bool *planned)
{
    int whole;
    size_t at = 0;
    *planned = false;
    if (node->op != &q8_op_concat || !inputs_lie_in_a_row(p, node, e))
        return Q8_OK;
    for (int i = 0; i < node->n_in; i++) {
        if (!free_part(p, node->in[i]))
            return Q8_OK;
        for (int k = 0; k < i; k++)
            if (free_part(p, node->in[i]) == free_part(p, node->in[k]))
                return Q8_OK;
    }
    q8_code code =
        q8_planner_add_part(p, node->out[0], e->in_block[0], p->exec->n_steps - 1, &whole);
    for (int i = 0; i < node->n_in && !code; i++) {
        q8_slab_part *piece = free_part(p, node->in[i]);
        piece->whole = whole + 1;
        piece->at = at;
        at += piece->bytes;
    }
    if (!code)
        q8_planner_set_made(p, node->out[0], e->in_block[0], whole);
    *planned = true;
    return code;
}

/* --- residual additions ----------------------------------------------------------------------- */

/* Only the node behind it reads what this one makes. */
static bool is_for_the_next(const q8_planner *p, int index)
{
    const q8_node *node = p->graph->node[index];
    return index + 1 < p->graph->n_nodes && node->n_out == 1 &&
           !q8_planner_wants(p, node->out[0]) && p->place[node->out[0]].last_use == index + 1;
}

static bool adds_two(const q8_node *node)
{
    const q8_eltwise_attr *a = node->attr;
    return node->op == &q8_op_eltwise && node->n_in == 2 && a->type == Q8_ELTWISE_SUM &&
           (a->coeffs.n == 0 || (a->coeffs.v[0] == 1 && a->coeffs.v[1] == 1));
}

static bool is_piece_or_whole(const q8_planner *p, int part)
{
    bool is = p->exec->part[part].whole != 0;
    for (int i = 0; i < p->exec->n_parts; i++)
        is = is || p->exec->part[i].whole == part + 1;
    return is;
}

static bool is_in_part(const q8_place *place, int part)
{
    bool is = false;
    for (int i = 0; i < Q8_N_PLACES; i++)
        is = is || place->part[i] == part;
    return is;
}

/* Nobody needs what is in the part behind the node `last`, under whatever name. The callers'
 * inputs stay as they are. */
static bool is_free_after(const q8_planner *p, int part, int last)
{
    if (p->exec->part[part].first < 0 || is_piece_or_whole(p, part))
        return false;
    for (int t = 0; t < p->graph->n_tensors; t++)
        if (p->place[t].last_use > last && is_in_part(&p->place[t], part))
            return false;
    return true;
}

static bool is_read_by(const q8_planner *p, int part, const q8_node *node)
{
    bool is = false;
    for (int i = 0; i < node->n_in; i++)
        is = is || is_in_part(&p->place[node->in[i]], part);
    return is;
}

/* While `node` runs; nodes up to `last` follow it. What is not made yet may not. */
static bool may_be_overwritten(const q8_planner *p, int tensor, const q8_node *node, int last)
{
    const q8_place *place = &p->place[tensor];
    bool may = place->block != 0;
    for (int i = 0; i < Q8_N_PLACES && may; i++) {
        const int part = place->part[i];
        may = part < 0 || (is_free_after(p, part, last) && !is_read_by(p, part, node));
    }
    return may;
}

/* @param after set where the node is an activation of what the one before it makes */
static bool is_activation(const q8_planner *p, int index, q8_activation *after)
{
    const q8_node *node = p->graph->node[index];
    q8_activation act;
    if (!node->op->as_activation || node->n_in != 1 ||
        !node->op->as_activation(node, p->exec->arena, &act))
        return false;
    *after = act;
    return true;
}

bool q8_plan_residual(const q8_planner *p, int index, q8_residual *residual)
{
    const q8_node *const *node = (const q8_node *const *)p->graph->node;
    if (!is_for_the_next(p, index) || !adds_two(node[index + 1]))
        return false;
    const q8_node *sum = node[index + 1];
    const int own = node[index]->out[0], other = sum->in[0] == own ? sum->in[1] : sum->in[0];
    *residual = (q8_residual){.other = other, .out = sum->out[0], .last = index + 1};
    if (!may_be_overwritten(p, other, node[index], index + 1))
        return false;
    if (is_for_the_next(p, index + 1) && is_activation(p, index + 2, &residual->after)) {
        residual->out = node[index + 2]->out[0];
        residual->last = index + 2;
    }
    /* Kernels are for one picture or for the batch. */
    return index >= p->front || residual->last < p->front;
}
