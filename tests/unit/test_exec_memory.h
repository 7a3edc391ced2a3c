/** For tests of exec/: where a plan's tensors lie. */
#ifndef TEST_EXEC_MEMORY_H
#define TEST_EXEC_MEMORY_H

#include "exec/plan.h"
#include "test_exec_graph.h"

static inline bool *all_wanted(const q8_graph *graph)
{
    bool *wanted = malloc((size_t)graph->n_tensors * sizeof(*wanted));
    for (int t = 0; t < graph->n_tensors; t++)
        wanted[t] = true;
    return wanted;
}

/* Is one part a piece of the other? Later parts are the larger ones. */
static inline bool is_piece(const q8_exec *exec, int part, int of)
{
    while (part < of && exec->part[part].whole)
        part = exec->part[part].whole - 1;
    return part == of;
}

static inline void check_memory(const q8_exec *exec)
{
    for (int i = 0; i < exec->n_parts; i++) {
        const q8_slab_part *p = &exec->part[i];
        assert_int_equal(p->offset % 64, 0);
        assert_true(p->offset + p->bytes <= q8_exec_slab_bytes(exec));
        for (int k = 0; k < i; k++) {
            const q8_slab_part *o = &exec->part[k];
            if (is_piece(exec, k, i))
                assert_true(p->offset <= o->offset && o->offset + o->bytes <= p->offset + p->bytes);
            else if (p->first <= o->last && o->first <= p->last)
                assert_true(p->offset + p->bytes <= o->offset || o->offset + o->bytes <= p->offset);
        }
    }
    for (int s = 0; s < exec->n_steps; s++) {
        const q8_step *step = &exec->step[s];
        for (int i = 0; i < step->n_in; i++)
            assert_true(exec->part[step->in[i]].first < s && s <= exec->part[step->in[i]].last);
        if (step->kernel->adds) { /* to its last input */
            assert_int_equal(step->out[0], step->in[step->n_in - 1]);
            continue;
        }
        for (int i = 0; i < step->n_out; i++) {
            const q8_slab_part *p = &exec->part[step->out[i]];
            const bool of_front_for_batch = s < exec->front && p->stride > 0;
            assert_int_equal(p->first, of_front_for_batch ? 0 : s);
            assert_true(!of_front_for_batch || p->last >= exec->front - 1);
            assert_true(exec->batch == 1 || s < exec->front || p->stride > 0);
        }
    }
    for (int i = 0; i < exec->n_sights; i++) {
        const q8_sight *sight = &exec->sight[i];
        assert_true(exec->part[sight->part].first <= sight->after &&
                    sight->after <= exec->part[sight->part].last);
        assert_true(i == 0 || exec->sight[i - 1].after <= sight->after);
    }
}

#endif
