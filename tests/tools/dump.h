/** Runs a network once and writes every tensor, for tests to compare. */
#ifndef TEST_DUMP_H
#define TEST_DUMP_H

#include "graph/graph.h"

/**
 * @param backend begins with plain or cpu
 * @param words a folder, then one file of raw fp32 per network input. Each tensor goes to
 *   FOLDER/<number>.f32, and a line "<number> <backend> <op> <shape> <name>" to stdout
 */
q8_code dump_forward(q8_graph *graph, const char *backend, char **words, int n_words, q8_err *err);

/** Prints an error if there is one. @return an exit status */
int dump_exit(q8_code code, const q8_err *err);

#endif
