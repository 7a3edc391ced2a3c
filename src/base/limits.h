/**
 * What is refused for its size, in one place. Files come from strangers: a limit bounds what a
 * small file can cost in memory and time, or keeps sums within their types. Messages tell the
 * number and name this file; to raise one, change it here and build again. What depends on one
 * layer type is beside its code and in docs/layers.md; what all of a run may have at once is
 * q8_env.max_memory.
 */
#ifndef Q8_BASE_LIMITS_H
#define Q8_BASE_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/** The end of a message, and its two arguments. */
#define Q8_LIMIT          "the limit is %lld (%s in src/base/limits.h)"
#define Q8_LIMIT_OF(name) (long long)(name), #name

/* --- bytes of files --------------------------------------------------------------------------- */

/** Far above any real one; with the parser's limits it bounds the memory that a file can cost. */
#define Q8_MAX_PROTO_FILE ((size_t)16 << 20)
/** protobuf's own limit, so there are no longer ones. */
#define Q8_MAX_CAFFEMODEL_FILE ((size_t)INT32_MAX)
/** Much more than a mean picture takes. */
#define Q8_MAX_MEAN_FILE ((size_t)1 << 30)
/** Larger than any network's; columns and counts of a text this long fit an int. */
#define Q8_MAX_PARAM_FILE ((size_t)1 << 30)
#define Q8_MAX_BIN_FILE   ((size_t)1 << 36)
/** More than any table holds. */
#define Q8_MAX_TABLE_FILE  ((size_t)1 << 28)
#define Q8_MAX_STATS_FILE  ((size_t)1 << 31)
#define Q8_MAX_LABELS_FILE ((size_t)1 << 30)
#define Q8_MAX_LIST_FILE   ((size_t)64 << 20)
/** A photo has a few MiB, so a larger file is a mistake. */
#define Q8_MAX_PICTURE_FILE ((size_t)256 << 20)

/* --- networks --------------------------------------------------------------------------------- */

/** Elements of a tensor or weight; checked where a shape is made. Bytes and sums of sizes fit 64
 *  bits with room to spare. */
#define Q8_MAX_ELEMENTS ((size_t)1 << 30)

enum {
    /** Sizes and counts in attributes, so that sums stay in an int. */
    Q8_MAX_EXTENT = 1 << 24,
    /** On one side: a few bytes of padding make an output of any size, with as much to compute. The
     *  largest in use is FCN's 100. */
    Q8_MAX_PADDING = 1024,
    /** Messages in messages of a prototxt, as in protobuf: parsing is recursive. */
    Q8_MAX_DEPTH = 100,
    /** Messages in a prototxt, layers among them; keeps its cost in memory bounded. */
    Q8_MAX_MESSAGES = 1 << 18,
    /** Convolutions that groups are split into, in a network: several times what any has. Shared
     *  weights would let a small file ask for millions. */
    Q8_MAX_SPLIT_GROUPS = 8192,
};

/* --- pictures and tensors --------------------------------------------------------------------- */

/** Width times height: 16384 x 16384. A header may announce more than its file has. */
#define Q8_MAX_PIXELS ((size_t)1 << 28)
/** Samples that can be counted, used and skipped each; with more, counters could overflow. */
#define Q8_MAX_SAMPLES ((size_t)1 << 26)

enum {
    /** A progressive JPEG has ten scans or so; thousands in a small file only cost time. */
    Q8_MAX_JPEG_SCANS = 500,
    /** Bytes of the text in an .npy file; numpy's own is a hundred or so. */
    Q8_MAX_NPY_HEADER = 65535,
};

#endif
