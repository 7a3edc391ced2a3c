#include "quant/compensate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/team.h"
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
    signed char *weight;  /* of the whole layer */
    signed char *rounded; /* of the block: outputs of the group x n */
    int end;              /* of the outputs that are to be done here */
    atomic_int next;      /* output of the group */
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
    for (int o; (o = atomic_fetch_add(&b->next, 1)) < b->end;) {
        const size_t output = (size_t)b->group * (size_t)b->view->outputs + (size_t)o;
        const size_t at = output * row_size(b->view) + (size_t)b->first;
        q8_round_compensated(&rounding, b->node->weight[0].data + at,
                             quant->weight_scales[output / per_scale],
                             b->rounded + (size_t)o * (size_t)b->n, work);
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

/* With less to do, each member of a team is faster alone than all of them with their exchanges. */
static bool is_worth_sharing(const struct block *b)
{
    return (double)b->rows * (double)b->n * (double)b->n >= 0x1p28;
}

/* Each member of a team rounds some of the outputs. */
static q8_code share_outputs(struct block *b, const q8_env *env, q8_err *err)
{
    const size_t outputs = (size_t)b->view->outputs, n = (size_t)b->n;
    const q8_range own = q8_team_range(env, outputs);
    b->end = (int)own.end;
    atomic_init(&b->next, (int)own.begin);
    q8_code code = q8_parallel(q8_thread_count(env), round_outputs, b, err);
    code = q8_team_complete(env, code, b->rounded, outputs, n, err);
    signed char *to = b->weight + (size_t)b->group * outputs * row_size(b->view) + b->first;
    for (size_t o = 0; o < outputs && !code; o++)
        memcpy(to + o * row_size(b->view), b->rounded + o * n, n);
    return code;
}

static q8_code round_block(struct block *b, float *row, const q8_env *env, q8_err *err)
{
    float *factor = row + row_size(b->view);
    q8_env here = env ? *env : (q8_env){0};
    if (!is_worth_sharing(b))
        here.team = NULL;
    memset(b->exact, 0, (size_t)b->rows * (size_t)b->stride * sizeof(float));
    memset(b->coded, 0, (size_t)b->rows * (size_t)b->stride * sizeof(float));
    gather(b, b->inputs->exact, row, b->exact);
    gather(b, b->inputs->coded, row, b->coded);
    q8_code code = q8_moments(b->coded, b->coded, b->rows, b->n, b->own, &here, err);
    if (!code)
        code = q8_moments(b->exact, b->coded, b->rows, b->n, b->cross, &here, err);
    b->damping = DAMPING * mean_of_diagonal(b);
    b->factor = q8_factorise(factor, b->own, b->n, b->stride, b->damping) ? factor : NULL;
    return code ? code : share_outputs(b, &here, err);
}

static q8_code round_blocks(struct block *b, const q8_env *env, q8_err *err)
{
    const size_t n = row_size(b->view), stride = (size_t)b->stride;
    const size_t samples = (size_t)b->rows * stride;
    float *memory = malloc((2 * samples + 3 * stride * stride + n) * sizeof(*memory));
    b->rounded = malloc((size_t)b->view->outputs * (size_t)b->n);
    if (!memory || !b->rounded) {
        free(memory);
        free(b->rounded);
        return q8_fail_nomem(err);
    }
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
            code = round_block(b, b->cross + stride * stride, env, err);
        }
    free(memory);
    free(b->rounded);
    return code;
}

q8_code q8_compensate_rounding(q8_graph *graph, q8_node *node, const q8_layer_inputs *inputs,
                               const q8_env *env, q8_err *err)
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
    const q8_code code = round_blocks(&b, env, err);
    quant->weight = b.weight;
    if (!code)
        node->quant = quant;
    return code;
}
