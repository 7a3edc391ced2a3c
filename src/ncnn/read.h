/** The two halves of q8_ncnn_read(), and the words of a .param file. */
#ifndef Q8_NCNN_READ_H
#define Q8_NCNN_READ_H

#include "ops/op.h"

/** The structure: nodes with attributes and shapes, no weights. `name` must live in the arena. */
q8_code q8_ncnn_read_param(q8_graph *graph, const char *name, const char *text, size_t size,
                           q8_err *err);

/** The weights of such a graph's nodes. */
q8_code q8_ncnn_read_bin(q8_graph *graph, const char *name, const unsigned char *bytes, size_t size,
                         q8_err *err);

/** A word of a text and where it stands. */
typedef struct q8_word {
    const char *text; /**< not 0-terminated */
    size_t size;
    q8_loc loc;
} q8_word;

/** Sets one attribute of a node from a word `key=value`; `seen` has a bit for each key so far. */
q8_code q8_ncnn_read_value(q8_node *node, const q8_word *word, q8_arena *arena, uint32_t *seen,
                           q8_err *err);

/** How much of a word to show in a message: `%.*s` with this and its text. */
int q8_word_shown(const q8_word *word);

#endif
