/** Attributes of MemoryData, a constant. Dims as in q8_input_attr: 0 where there is none. */
#ifndef Q8_OPS_MEMORYDATA_H
#define Q8_OPS_MEMORYDATA_H

#include "ops/op.h"

typedef struct q8_memorydata_attr {
    int w, h, d, c;
    int load_type; /**< 1: the numbers stand in the .bin without a tag, the only kind here */
} q8_memorydata_attr;

/** Of a shape of rank 1 to 3. */
q8_memorydata_attr q8_memorydata_of(const q8_shape *shape);

#endif
