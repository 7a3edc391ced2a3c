#include "quant/weight_parts.h"

#include <math.h>

#include "base/simd.h"
#include "base/thread.h"

enum { PARTS = 4 };

struct job {
    q8_weight_parts *parts; /* by node */
    const q8_channel_classes *classes;
};

static q8_code fill_table(void *user, int index, q8_err *err)
{
    (void)err;
    const struct job *job = user;
    const q8_weight_parts *p = &job->parts[index];
    const size_t all = p->inputs * p->outputs;
    const int kernel = job->classes->node[index].view.kernel;
    const float *w = p->weights;
    for (size_t i = 0; p->table && i < all; i++, w += kernel) {
        float largest = 0, total = 0, sum = 0, power = 0;
        for (int k = 0; k < kernel; k++) {
            const float size = fabsf(w[k]);
            largest = size > largest ? size : largest;
            total += size;
            sum += w[k];
            power += size * size;
        }
        p->table[i] = largest;
        p->table[all + i] = total;
        p->table[2 * all + i] = sum;
        p->table[3 * all + i] = power;
    }
    return Q8_OK;
}

static q8_code open_parts(q8_weight_parts *parts, const q8_node *node, const q8_linear *view,
                          q8_arena *arena, q8_err *err)
{
    *parts = (q8_weight_parts){.weights = node->weight[0].data,
                               .inputs = (size_t)view->inputs,
                               .outputs = (size_t)view->groups * (size_t)view->outputs};
    if (view->kernel == 1)
        return Q8_OK;
    parts->table = q8_arena_array(arena, PARTS * parts->inputs * parts->outputs, sizeof(float));
    return parts->table ? Q8_OK : q8_fail_nomem(err);
}

q8_code q8_weight_parts_make(q8_weight_parts **parts, const q8_graph *graph,
                             const q8_channel_classes *classes, int threads, q8_arena *arena,
                             q8_err *err)
{
    struct job job = {.classes = classes};
    job.parts = *parts = q8_arena_array(arena, (size_t)graph->n_nodes + 1, sizeof(*job.parts));
    q8_code code = job.parts ? Q8_OK : q8_fail_nomem(err);
    for (int i = 0; i < graph->n_nodes && !code; i++)
        if (classes->node[i].role == Q8_ROLE_LINEAR)
            code = open_parts(&job.parts[i], graph->node[i], &classes->node[i].view, arena, err);
    return code ? code : q8_parallel_each(threads, graph->n_nodes, fill_table, &job, err);
}

Q8_SIMD_CLONES
static void sizes_and_squares(const float *restrict w, size_t n, float *restrict size,
                              float *restrict square)
{
    for (size_t i = 0; i < n; i++) {
        size[i] = fabsf(w[i]);
        square[i] = w[i] * w[i];
    }
}

q8_weight_row q8_weight_row_of(const q8_weight_parts *parts, size_t output, size_t first, size_t n,
                               float *room)
{
    const size_t at = output * parts->inputs + first, all = parts->inputs * parts->outputs;
    const float *table = parts->table;
    if (table)
        return (q8_weight_row){table + at, table + all + at, table + 2 * all + at,
                               table + 3 * all + at};
    sizes_and_squares(parts->weights + at, n, room, room + n);
    return (q8_weight_row){room, room, parts->weights + at, room + n};
}
