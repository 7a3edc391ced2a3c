#include "calib/mean.h"

#include <limits.h>
#include <math.h>

#include "base/file.h"
#include "caffe/mean.h"
#include "calib/npy.h"

/** What both kinds of file give. */
struct array {
    int n_dim;
    size_t dim[Q8_CAFFE_MAX_DIMS];
    size_t count;
    const float *data;
};

_Static_assert((int)Q8_NPY_MAX_DIMS <= (int)Q8_CAFFE_MAX_DIMS, "an array has room for both");

static q8_code read_npy(struct array *array, q8_npy *npy, q8_arena *arena, q8_err *err)
{
    array->n_dim = npy->n_dim;
    for (int i = 0; i < npy->n_dim; i++)
        array->dim[i] = npy->dim[i];
    array->count = npy->count;
    float *data = q8_arena_array(arena, npy->count, sizeof(*data));
    array->data = data;
    return data || npy->count == 0 ? q8_npy_read(npy, 0, npy->count, data, err)
                                   : q8_fail_nomem(err);
}

static q8_code read_binaryproto(struct array *array, const char *path, q8_arena *arena, q8_err *err)
{
    q8_caffe_blob blob;
    const q8_code code = q8_caffe_mean_read(&blob, path, arena, err);
    if (code != Q8_OK)
        return code;
    array->n_dim = blob.n_dim;
    for (int i = 0; i < blob.n_dim; i++)
        array->dim[i] = (size_t)blob.dim[i];
    array->count = blob.count;
    array->data = blob.data;
    return Q8_OK;
}

static q8_code read_any(struct array *array, const char *path, q8_arena *arena, q8_err *err)
{
    q8_npy npy;
    unsigned char start[Q8_NPY_PROBE_BYTES];
    const ssize_t n = q8_file_start(path, start, sizeof(start));
    if (n < 0)
        return q8_fail_errno(err, path, "open");
    if (!q8_npy_probe(start, (size_t)n))
        return read_binaryproto(array, path, arena, err);
    q8_code code = q8_npy_open(&npy, path, err);
    if (code == Q8_OK)
        code = read_npy(array, &npy, arena, err);
    q8_npy_close(&npy);
    return code;
}

/** Leading dimensions of 1 are the batch's. */
static q8_code set_form(q8_mean *mean, const struct array *array, const q8_loc *loc, q8_err *err)
{
    const size_t *dim = array->dim;
    int rank = array->n_dim;
    for (; rank > 3 && dim[0] == 1; rank--)
        dim++;
    if (rank > 3)
        return q8_fail(err, Q8_EFORMAT, loc, NULL, "a mean of %zu pictures, not of one", dim[0]);
    for (int i = 0; i < rank; i++)
        if (dim[i] == 0 || dim[i] > INT_MAX)
            return q8_fail(err, Q8_EFORMAT, loc, NULL, "a mean with a dimension of %zu", dim[i]);
    *mean = (q8_mean){
        .channels = rank == 2 || rank == 0 ? 1 : (int)dim[0],
        .height = rank < 2 ? 1 : (int)dim[rank - 2],
        .width = rank < 2 ? 1 : (int)dim[rank - 1],
        .data = array->data,
    };
    return Q8_OK;
}

q8_code q8_mean_read(q8_mean *mean, const char *path, q8_arena *arena, q8_err *err)
{
    struct array array = {0};
    const q8_loc loc = {.file = path};
    q8_code code = read_any(&array, path, arena, err);
    if (code == Q8_OK)
        code = set_form(mean, &array, &loc, err);
    for (size_t i = 0; code == Q8_OK && i < array.count; i++)
        if (!isfinite(array.data[i]))
            code = q8_fail(err, Q8_EFORMAT, &loc, NULL, "element %zu of the mean is not finite", i);
    return code;
}
