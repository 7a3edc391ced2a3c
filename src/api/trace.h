/** What became of each node of a graph while passes rewrote it. */
#ifndef Q8_API_TRACE_H
#define Q8_API_TRACE_H

#include "graph/graph.h"

/** The types of the nodes that were folded into one, in network order. */
typedef struct q8_fused {
    const char *const *type;
    size_t n;
} q8_fused;

/**
 * Passes keep the ids of tensors, and a node that takes over another one's work takes over its
 * output or input too: following these leads from a node to those that were folded into it.
 */
typedef struct q8_trace {
    const q8_graph *before;
    q8_node **node;         /**< what is left of each node of `before`; NULL: gone */
    q8_fused *fused;        /**< by index in `before` */
    size_t n_gone, n_fused; /**< nodes that are gone; those of them that are in `fused` */
    int *producer;          /**< private: index in `before` by tensor */
    int *alias; /**< private, by tensor: what is read instead where a node did nothing and went */
    int *found; /**< private */
} q8_trace;

/** Before the passes. */
q8_code q8_trace_begin(q8_trace *trace, const q8_graph *graph, q8_err *err);
/** After them, but before any that puts new nodes between old ones. */
q8_code q8_trace_end(q8_trace *trace, q8_err *err);

#endif
