/**
 * ncnn's calibration tables: text, a line for each layer's weight scales, `NAME_param_0 s s …`, and
 * one for the scale of its input, `NAME s`. Reading also takes empty lines and lines that begin
 * with '#'.
 */
#ifndef Q8_NCNN_TABLE_H
#define Q8_NCNN_TABLE_H

#include "base/buf.h"
#include "quant/quant.h"

typedef struct q8_table q8_table;

/** Reads a table. `name` must live in the arena. */
q8_code q8_table_read(q8_table **table, const char *name, const char *text, size_t size,
                      q8_arena *arena, q8_err *err);

/**
 * What the table has for each layer that can run in int8, found by the names that the layers have
 * in a .param file. Layers that it lacks, or whose scales cannot be used, are to stay float, with
 * the reason and a note or a warning; a wrong number of scales is an error, and so is a table
 * without a single layer of the network. A scale of weights that are all 0 may be anything.
 * @param given by node, set here
 */
q8_code q8_table_scales(q8_given *given, const q8_table *table, q8_graph *graph, const q8_env *env,
                        q8_err *err);

/** The scales of a graph's int8 layers as a table. An error where they are those of tensors that a
 *  rewrite changed: they would not fit the float network. */
q8_code q8_table_write(q8_buf *text, const q8_graph *graph, q8_err *err);

#endif
