/** Names as ncnn's .param can hold them, and finding things by name. */
#ifndef Q8_NCNN_NAMES_H
#define Q8_NCNN_NAMES_H

#include "graph/graph.h"

/** ncnn reads at most so many bytes of a name and takes the rest for the next word. */
enum { Q8_NCNN_NAME_MAX = 255 };

/** Name -> number. In an arena; names are borrowed. */
typedef struct q8_name_map q8_name_map;

/** @return NULL when out of memory */
q8_name_map *q8_name_map_new(q8_arena *arena);
/** Where the number of `name` is kept; NULL: no such name. Valid until the next add. */
int *q8_name_map_find(const q8_name_map *map, const char *name);
/** Adds a name that is not there yet. False when out of memory. */
bool q8_name_map_add(q8_name_map *map, const char *name, int value);

/** A graph's names as they go into the file: by node index and by tensor id. */
typedef struct q8_ncnn_names {
    const char **node, **tensor;
} q8_ncnn_names;

/**
 * White space, control characters and '=' become '_'; empty, overlong and double names are made
 * different ones. A name that is fine keeps its spelling, the network's outputs before all others.
 */
q8_code q8_ncnn_names_make(const q8_graph *graph, q8_ncnn_names *names, q8_err *err);

#endif
