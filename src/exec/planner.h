/** Inside the planner: what there is while a plan is made, for plan.c and the files it is made
 * with. */
#ifndef Q8_EXEC_PLANNER_H
#define Q8_EXEC_PLANNER_H

#include "exec/layout.h"
#include "exec/plan.h"

enum { Q8_N_PLACES = Q8_N_BLOCKS + 1 };

/** Where a tensor can be found while the plan is made. */
typedef struct q8_place {
    bool needed;
    int last_use;          /**< the last node that reads it, under whatever name; -1: none */
    int block;             /**< asked for when it was made; 0 until then */
    int part[Q8_N_PLACES]; /**< by layout, the last on the GPU; -1 where it is not available */
} q8_place;

typedef struct q8_planner {
    q8_exec *exec;
    const q8_graph *graph;
    const q8_exec_opts *opts;
    q8_err *err;
    q8_place *place; /**< by tensor */
    bool *in_batch;  /**< by part: there has to be room for all pictures of the batch */
    int front;       /**< nodes that run picture by picture */
    int batch;       /**< pictures at once of the kernels made now */
    int planned;     /**< nodes up to this one are, by the kernel of one before them; -1: none */
} q8_planner;

/** Shapes and layouts of a node's edges. */
typedef struct q8_edges {
    q8_shape *in, *out;
    int *in_block;
} q8_edges;

/** The tensor will be observed. */
bool q8_planner_wants(const q8_planner *p, int tensor);
const q8_shape *q8_planner_shape(const q8_planner *p, int tensor);
/** Which of a place's parts is of this layout. */
int q8_place_index(int block);

/** Memory for a tensor in one layout, live from `step` on. */
q8_code q8_planner_add_part(q8_planner *p, int tensor, int block, int step, int *part);
/** The part is used at this step. They count from 0; inputs are there before, at -1. */
void q8_planner_touch(q8_planner *p, int part, int step);
/** The tensor was made in this layout, in this part. */
void q8_planner_set_made(q8_planner *p, int tensor, int block, int part);
/** The tensor in the layout `block`, by steps that convert it if it is not there yet. What goes to
 * the GPU or comes from there does so in plain order. */
q8_code q8_planner_get_part(q8_planner *p, int tensor, int block, int *part);
/** Takes over the kernel. */
q8_code q8_planner_add_step(q8_planner *p, q8_kernel *kernel, int n_in, int n_out, q8_step **step);
/** Room for the batch in parts that need it. */
void q8_planner_spread(q8_planner *p);
/** Parts on the GPU begin where its memory may be divided. */
void q8_planner_align(q8_planner *p);

/** The node's outputs are its input. */
bool q8_plan_passes_through(const q8_node *node, const q8_edges *e);
/** The outputs become other names of the input's memory. */
q8_code q8_plan_alias(q8_planner *p, const q8_node *node, const q8_edges *e);
/** Makes a concatenation's inputs pieces of the output's memory, if they can be, so that nothing
 * needs to be copied. */
q8_code q8_plan_concat(q8_planner *p, const q8_node *node, const q8_edges *e, bool *planned);

/** The end of a residual block behind a convolution: its output and another tensor are added, and
 * perhaps go through an activation. */
typedef struct q8_residual {
    int other;           /**< tensor; the result may be written over it */
    int out;             /**< the result */
    int last;            /**< the last of these nodes, which follow each other */
    q8_activation after; /**< of the sum */
} q8_residual;

/** Whether this is all that a node's output is for. */
bool q8_plan_residual(const q8_planner *p, int index, q8_residual *residual);

#endif
