/** What the layer table says of a node's parameters, for reading, writing and comparing alike. */
#ifndef Q8_NCNN_ATTR_H
#define Q8_NCNN_ATTR_H

#include "ops/op.h"

enum {
    Q8_NCNN_KEYS = 32,           /**< keys are 0..31 */
    Q8_NCNN_ARRAY_KEY = -23300,  /**< minus the key of a list */
    Q8_NCNN_KEY_INT8 = 8,        /**< int8_scale_term */
    Q8_NCNN_KEY_SHAPE_HINT = 30, /**< any layer's: the outputs' shapes */
    Q8_NCNN_KEY_FEATURES = 31,   /**< any layer's: features that it must not use */
};

/** NULL: the layer has no such parameter. */
const q8_field *q8_field_by_key(const q8_op *op, int key);

int *q8_field_int(const q8_field *field, const void *attr);
float *q8_field_float(const q8_field *field, const void *attr);
q8_ints *q8_field_ints(const q8_field *field, const void *attr);
q8_floats *q8_field_floats(const q8_field *field, const void *attr);

/** Sets a field to its default; a `same_as` field takes the other's value. Lists become empty. */
void q8_field_reset(const q8_op *op, const q8_field *field, void *attr);
/** True when the field has its default, to the bit, and so need not be written. */
bool q8_field_is_default(const q8_op *op, const q8_field *field, const void *attr);
/** True when both structs have the same value there, to the bit. */
bool q8_field_equal(const q8_field *field, const void *a, const void *b);

/** ncnn's int8_scale_term: 0 for a float node and for layers that have none. */
int q8_int8_term(const q8_node *node);
/** A float node's int8_scale_term. */
void q8_int8_term_clear(q8_node *node);

/** How many weight scales an int8 node stores. 0: unknown (a wrong term, or no linear layer). */
size_t q8_int8_scale_count(const q8_graph *graph, const q8_node *node);

#endif
