/** Tensors that numpy.save() wrote: read in pieces, so that a file may be larger than memory. */
#ifndef Q8_CALIB_NPY_H
#define Q8_CALIB_NPY_H

#include "base/err.h"

enum { Q8_NPY_MAX_DIMS = 8 };

typedef struct q8_npy {
    int n_dim;
    size_t dim[Q8_NPY_MAX_DIMS];
    size_t count; /**< elements */
    /* private */
    const char *path;
    int fd;
    size_t start; /* of the first element in the file */
    const struct q8_npy_type *type;
    bool big_endian;
} q8_npy;

enum { Q8_NPY_PROBE_BYTES = 6 };
/** Do these first bytes begin an .npy file? */
bool q8_npy_probe(const unsigned char *data, size_t size);

/**
 * Reads the header and checks that the file is as long as it says. Elements may be float32, float64
 * or uint8, in C order, of either byte order.
 * @param path borrowed
 */
q8_code q8_npy_open(q8_npy *npy, const char *path, q8_err *err);
/** Elements `first` to `first + count`, as fp32. */
q8_code q8_npy_read(const q8_npy *npy, size_t first, size_t count, float *out, q8_err *err);
void q8_npy_close(q8_npy *npy);

#endif
