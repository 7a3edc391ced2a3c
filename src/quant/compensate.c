#include "quant/compensate.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/team.h"
#include "base/thread.h"
#include "calib/windows.h"
#include "quant/factor.h"
#include "quant/moments.h"
#include "quant/quant.h"
#include "quant/round.h"

enum {
    MOST_COLUMNS = 1152, /* of a block of weights that are rounded together: 128 channels of 3x3 */
    MOST_ROWS = 8192,
    ROWS_PER_COLUMN = 3, /* sampled, at most */
    FEWEST_ROWS_PER_COLUMN = 2,
};

/* Of the mean of the moments' diagonal. */
#define DAMPING 0.1f

/* Blocks that need no more than this are given to one thread each. */
static const size_t SMALL_BLOCK = (size_t)4 << 20;

struct layer {
    const q8_node *node;
    const q8_linear *view;
    const q8_shape *in;
    const q8_layer_inputs *inputs;
    size_t positions;    /* of an output channel */
    int rows;            /* sampled */
    int columns;         /* of a block, the last of a group may have fewer */
    int blocks;          /* of a group */
    long long limit;     /* of |q| in a block of an output's weights */
    signed char *weight; /* of all outputs */
    q8_range chunks;     /* outputs_at_once() outputs each: those that are rounded here */
    int threads;         /* that share a block */
    float *memory;       /* block_room() for each thread that has a block of its own */
    atomic_int next;     /* block */
};

/* Weights of one group that are rounded together: inputs [first, first + n) of each output's. */
struct block {
    const struct layer *layer;
    int group, first, n, stride;
    float *exact, *coded; /* rows x stride */
    float *own, *cross;   /* stride x stride */
    float *factor;        /* the same, or NULL where there is none */
    float *room;          /* q8_round_room() for each thread */
    float damping;
    atomic_int next_picture, next_chunk;
};

static size_t row_size(const struct layer *l)
{
    return (size_t)l->view->inputs * (size_t)l->view->kernel;
}

/* --- the sample ------------------------------------------------------------------------------- */

/* One picture's part of one side's sample matrix. `row`: room for a window. */
static void gather_picture(const struct block *b, int picture, const float *x, float *row,
                           float *out)
{
    const struct layer *l = b->layer;
    const int each = l->rows / l->inputs->n;
    const bool whole = (size_t)b->n == row_size(l);
    x += (size_t)picture * q8_shape_count(l->in);
    out += (size_t)picture * (size_t)each * (size_t)b->stride;
    for (int k = 0; k < each; k++, out += b->stride) {
        const size_t at =
            q8_window_position(l->positions, (size_t)picture, (size_t)k, (size_t)each);
        l->node->op->window(l->inputs->layer, l->in, x, at, b->group, whole ? out : row);
        if (!whole)
            memcpy(out, row + b->first, (size_t)b->n * sizeof(*out));
    }
}

static q8_code gather(void *user, int worker, q8_err *err)
{
    (void)worker;
    struct block *b = user;
    const q8_layer_inputs *inputs = b->layer->inputs;
    float *row = malloc(row_size(b->layer) * sizeof(*row));
    if (!row)
        return q8_fail_nomem(err);
    for (int i; (i = atomic_fetch_add(&b->next_picture, 1)) < 2 * inputs->n;)
        if (i < inputs->n)
            gather_picture(b, i, inputs->exact, row, b->exact);
        else
            gather_picture(b, i - inputs->n, inputs->coded, row, b->coded);
    free(row);
    return Q8_OK;
}

/* --- a block ---------------------------------------------------------------------------------- */

/* Outputs that are rounded at once: few enough that threads have something to share. */
static int outputs_at_once(const struct layer *l)
{
    const int some = (l->view->outputs + 7) / 8;
    return some < 32 ? 32 : some < Q8_ROUND_OUTPUTS ? some : Q8_ROUND_OUTPUTS;
}

/* `count` outputs of the group from `first` on. */
static q8_code round_outputs(const struct block *b, int first, int count, float *room, q8_err *err)
{
    const struct layer *l = b->layer;
    const q8_quant *quant = l->node->quant;
    const q8_rounding rounding = {.n = b->n,
                                  .stride = b->stride,
                                  .own = b->own,
                                  .cross = b->cross,
                                  .factor = b->factor,
                                  .damping = b->damping,
                                  .weight_limit = quant->weight_limit,
                                  .sum_limit = l->limit};
    const size_t outputs = (size_t)l->view->groups * (size_t)l->view->outputs;
    const size_t per_scale = outputs / quant->n_weight_scales;
    const size_t output = (size_t)b->group * (size_t)l->view->outputs + (size_t)first;
    const size_t at = output * row_size(l) + (size_t)b->first;
    float scale[Q8_ROUND_OUTPUTS];
    for (int i = 0; i < count; i++)
        scale[i] = quant->weight_scales[(output + (size_t)i) / per_scale];
    const q8_round_outputs some = {.count = count,
                                   .w = l->node->weight[0].data + at,
                                   .q = l->weight + at,
                                   .stride = row_size(l),
                                   .scale = scale};
    return q8_round_compensated(&rounding, &some, room, err);
}

static q8_code round_all_outputs(void *user, int worker, q8_err *err)
{
    struct block *b = user;
    const int outputs = b->layer->view->outputs, at_once = outputs_at_once(b->layer);
    float *room = b->room + (size_t)worker * q8_round_room(b->stride);
    q8_code code = Q8_OK;
    for (int i; !code && (i = atomic_fetch_add(&b->next_chunk, 1)) < (int)b->layer->chunks.end;) {
        const int o = i * at_once;
        code = round_outputs(b, o, outputs - o < at_once ? outputs - o : at_once, room, err);
    }
    return code;
}

static float mean_of_diagonal(const struct block *b)
{
    float mean = 0;
    for (int i = 0; i < b->n; i++)
        mean += b->own[(size_t)i * ((size_t)b->stride + 1)] / (float)b->n;
    return mean;
}

static q8_code round_block(struct block *b, q8_err *err)
{
    const int rows = b->layer->rows, threads = b->layer->threads;
    bool exists;
    q8_code code = q8_parallel(threads, gather, b, err);
    if (!code)
        code = q8_moments(b->exact, b->coded, rows, b->n, b->own, b->cross, threads, err);
    if (code)
        return code;
    b->damping = DAMPING * mean_of_diagonal(b);
    code = q8_factorise(b->factor, b->own, b->n, b->stride, b->damping, &exists, err);
    b->factor = exists ? b->factor : NULL;
    atomic_init(&b->next_chunk, (int)b->layer->chunks.begin);
    return code ? code : q8_parallel(threads, round_all_outputs, b, err);
}

/* --- a layer ---------------------------------------------------------------------------------- */

/* Floats of a block's memory. */
static size_t block_room(const struct layer *l)
{
    const size_t stride = (size_t)q8_moments_stride(l->columns);
    return (2 * (size_t)l->rows + 3 * stride) * stride +
           (size_t)l->threads * q8_round_room((int)stride);
}

static q8_code round_blocks(void *user, int worker, q8_err *err)
{
    struct layer *l = user;
    const int n = (int)row_size(l);
    q8_code code = Q8_OK;
    for (int i; !code && (i = atomic_fetch_add(&l->next, 1)) < l->blocks * l->view->groups;) {
        struct block b = {.layer = l, .group = i / l->blocks, .first = i % l->blocks * l->columns};
        b.n = n - b.first < l->columns ? n - b.first : l->columns;
        b.stride = q8_moments_stride(b.n);
        b.exact = l->memory + (size_t)worker * block_room(l);
        b.coded = b.exact + (size_t)l->rows * (size_t)b.stride;
        b.own = b.coded + (size_t)l->rows * (size_t)b.stride;
        b.cross = b.own + (size_t)b.stride * (size_t)b.stride;
        b.factor = b.cross + (size_t)b.stride * (size_t)b.stride;
        b.room = b.factor + (size_t)b.stride * (size_t)b.stride;
        code = round_block(&b, err);
    }
    return code;
}

/* How many of the pictures' output positions to look at; 0: there are too few. */
static int rows_for(const struct layer *l)
{
    size_t each = (size_t)ROWS_PER_COLUMN * (size_t)l->columns;
    each = (each < MOST_ROWS ? each < 1024 ? 1024 : each : MOST_ROWS) / (size_t)l->inputs->n;
    each = each < l->positions ? each ? each : 1 : l->positions;
    const int rows = (int)each * l->inputs->n;
    return rows < FEWEST_ROWS_PER_COLUMN * l->columns ? 0 : rows;
}

/* With less to do, each member of a team is faster alone than all of them with their exchange.
 * Groups have few outputs each. */
static bool is_worth_sharing(const struct layer *l)
{
    const double n = l->columns, outputs = l->view->outputs;
    return l->view->groups == 1 && l->blocks * n * n * outputs >= 0x1p26;
}

static q8_code round_layer(struct layer *l, q8_buffers *buffers, int threads, q8_err *err)
{
    l->threads = 1;
    const bool apart = l->view->groups >= threads && block_room(l) * sizeof(float) <= SMALL_BLOCK;
    const int at_once = apart ? threads : 1;
    l->threads = apart ? 1 : threads;
    l->memory = q8_buffers_take(buffers, (size_t)at_once * block_room(l) * sizeof(float));
    const q8_code code =
        l->memory ? q8_parallel(at_once, round_blocks, l, err) : q8_fail_nomem(err);
    q8_buffers_give(buffers, l->memory);
    return code;
}

q8_code q8_compensate_rounding(q8_graph *graph, q8_node *node, const q8_layer_inputs *inputs,
                               q8_buffers *buffers, const q8_env *env, q8_err *err)
{
    const q8_shape *in = &graph->tensor[node->in[0]].shape;
    q8_linear view;
    if (!node->op->window || !node->op->linear(node, in, &view))
        return Q8_OK;
    struct layer l = {.node = node,
                      .view = &view,
                      .in = in,
                      .inputs = inputs,
                      .positions = q8_shape_spatial(&graph->tensor[node->out[0]].shape)};
    const int n = (int)row_size(&l);
    l.blocks = (n + MOST_COLUMNS - 1) / MOST_COLUMNS;
    l.columns = (n + l.blocks - 1) / l.blocks;
    l.rows = rows_for(&l);
    if (!l.rows)
        return Q8_OK;
    /* Blocks share what the outputs' sums may be. */
    l.limit = node->quant->sum_limit / l.blocks;
    /* Whole chunks, so that members of a team can exchange theirs. */
    const size_t at_once = (size_t)outputs_at_once(&l), outputs = (size_t)view.outputs;
    const size_t chunks = (outputs + at_once - 1) / at_once, chunk = at_once * row_size(&l);
    const bool shared = is_worth_sharing(&l);
    q8_quant *quant = q8_arena_alloc(graph->arena, sizeof(*quant));
    l.weight = q8_arena_array(graph->arena, node->weight[0].count + chunk, 1);
    if (!quant || !l.weight)
        return q8_fail_nomem(err);
    l.chunks = shared ? q8_team_range(env, chunks) : (q8_range){0, chunks};
    q8_code code = round_layer(&l, buffers, q8_thread_count(env), err);
    if (shared)
        code = q8_team_complete(env, code, l.weight, chunks, chunk, err);
    *quant = *node->quant;
    quant->weight = l.weight;
    if (!code)
        node->quant = quant;
    return code;
}
