#include "quant/compensate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/thread.h"
#include "calib/windows.h"
#include "quant/moments.h"
#include "quant/quant.h"
#include "quant/round.h"

enum {
    MOST_COLUMNS = 1152, /* of a block of weights that are rounded together: 128 channels of 3x3 */
    MOST_ROWS = 8192,
    ROWS_PER_COLUMN = 4, /* sampled, at most */
    FEWEST_ROWS_PER_COLUMN = 2,
};

/* Of the mean of the moments' diagonal. */
#define DAMPING 0.1f

/* Weights of one group that are rounded together: inputs [first, first + n) of each output's. */
struct block {
    const q8_node *node;
    const q8_linear *view;
    const q8_shape *in;
    const q8_layer_inputs *inputs;
    size_t positions; /* of an output channel */
    int group, first, n;
    int rows, stride;
    float *exact, *coded; /* rows x stride */
    float *own, *cross;   /* stride x stride */
    float *factor;        /* the same, or NULL where there is none */
    float damping;
    long long limit;
    const signed char *before;
    signed char *weight; /* of the whole layer */
    atomic_int next;     /* output of the group */
};

static size_t row_size(const q8_linear *view)
{
    return (size_t)view->inputs * (size_t)view->kernel;
}

/* One side's sample matrix. */
static void gather(const struct block *b, const float *x, float *row, float *out)
{
    const size_t count = q8_shape_count(b->in);
    const int each = b->rows / b->inputs->n;
    for (int p = 0; p < b->inputs->n; p++)
        for (int k = 0; k < each; k++) {
            const size_t at = q8_window_position(b->positions, (size_t)p, (size_t)k, (size_t)each);
            b->node->op->window(b->node, b->in, x + (size_t)p * count, at, b->group, row);
            memcpy(out, row + b->first, (size_t)b->n * sizeof(*out));
            out += b->stride;
        }
}

static q8_code round_outputs(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct block *b = user;
    const q8_rounding rounding = {.n = b->n,
                                  .stride = b->stride,
                                  .own = b->own,
                                  .cross = b->cross,
                                  .factor = b->factor,
                                  .damping = b->damping,
                                  .weight_limit = b->node->quant->weight_limit,
                                  .sum_limit = b->limit};
    const q8_quant *quant = b->node->quant;
    const size_t per_scale =
        (size_t)b->view->groups * (size_t)b->view->outputs / quant->n_weight_scales;
    float *work = malloc(2 * (size_t)b->stride * sizeof(*work));
    if (!work)
        return q8_fail_nomem(err);
    for (int o; (o = atomic_fetch_add(&b->next, 1)) < b->view->outputs;) {
        const size_t output = (size_t)b->group * (size_t)b->view->outputs + (size_t)o;
        const size_t at = output * row_size(b->view) + (size_t)b->first;
        q8_round_compensated(&rounding, b->node->weight[0].data + at,
                             quant->weight_scales[output / per_scale], b->weight + at, work);
    }
    free(work);
    return Q8_OK;
}

static float mean_of_diagonal(const struct block *b)
{
    float mean = 0;
    for (int i = 0; i < b->n; i++)
        mean += b->own[(size_t)i * ((size_t)b->stride + 1)] / (float)b->n;
    return mean;
}

static q8_code round_block(struct block *b, float *row, int threads, q8_err *err)
{
    float *factor = row + row_size(b->view);
    memset(b->exact, 0, (size_t)b->rows * (size_t)b->stride * sizeof(float));
    memset(b->coded, 0, (size_t)b->rows * (size_t)b->stride * sizeof(float));
    gather(b, b->inputs->exact, row, b->exact);
    gather(b, b->inputs->coded, row, b->coded);
    q8_code code = q8_moments(b->coded, b->coded, b->rows, b->n, b->own, threads, err);
    if (!code)
        code = q8_moments(b->exact, b->coded, b->rows, b->n, b->cross, threads, err);
    b->damping = DAMPING * mean_of_diagonal(b);
    b->factor = q8_factorise(factor, b->own, b->n, b->stride, b->damping) ? factor : NULL;
    atomic_init(&b->next, 0);
    return code ? code : q8_parallel(threads, round_outputs, b, err);
}

static q8_code round_blocks(struct block *b, int threads, q8_err *err)
{
    const size_t n = row_size(b->view), stride = (size_t)b->stride;
    const size_t samples = (size_t)b->rows * stride;
    float *memory = malloc((2 * samples + 3 * stride * stride + n) * sizeof(*memory));
    if (!memory)
        return q8_fail_nomem(err);
    b->exact = memory;
    b->coded = memory + samples;
    b->own = memory + 2 * samples;
    b->cross = b->own + stride * stride;
    q8_code code = Q8_OK;
    const int columns = b->n;
    for (b->group = 0; b->group < b->view->groups && !code; b->group++)
        for (b->first = 0; (size_t)b->first < n && !code; b->first += columns) {
            b->n = n - (size_t)b->first < (size_t)columns ? (int)(n - (size_t)b->first) : columns;
            b->stride = q8_moments_stride(b->n);
            code = round_block(b, b->cross + stride * stride, threads, err);
        }
    free(memory);
    return code;
}

q8_code q8_compensate_rounding(q8_graph *graph, q8_node *node, const q8_layer_inputs *inputs,
                               int threads, q8_err *err)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    q8_linear view;
    if (!node->op->window || !node->op->linear(node, in, &view))
        return Q8_OK;
    struct block b = {.node = node,
                      .view = &view,
                      .in = in,
                      .inputs = inputs,
                      .positions = q8_shape_spatial(&graph->tensor[node->out[0]].shape)};
    const size_t n = row_size(&view), blocks = (n + MOST_COLUMNS - 1) / MOST_COLUMNS;
    b.n = (int)((n + blocks - 1) / blocks);
    b.stride = q8_moments_stride(b.n);
    size_t each = (size_t)ROWS_PER_COLUMN * (size_t)b.n;
    each = (each < MOST_ROWS ? each < 1024 ? 1024 : each : MOST_ROWS) / (size_t)inputs->n;
    each = each < b.positions ? each ? each : 1 : b.positions;
    b.rows = (int)each * inputs->n;
    if (b.rows < FEWEST_ROWS_PER_COLUMN * b.n)
        return Q8_OK;
    /* Blocks share what the outputs' sums may be. */
    b.limit = node->quant->sum_limit / (long long)blocks;
    q8_quant *quant = q8_arena_alloc(graph->arena, sizeof(*quant));
    b.weight = q8_arena_array(graph->arena, node->weight[0].count, 1);
    if (!quant || !b.weight)
        return q8_fail_nomem(err);
    *quant = *node->quant;
    const q8_code code = round_blocks(&b, threads, err);
    quant->weight = b.weight;
    if (!code)
        node->quant = quant;
    return code;
}
