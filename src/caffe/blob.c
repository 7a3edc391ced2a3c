#include "caffe/blob.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* NVIDIA's numbers for the types of raw data. */
enum { RAW_DOUBLE = 0, RAW_FLOAT = 1, RAW_HALF = 2 };

/* "blob 1 of net.caffemodel" and what is wrong with it. */
static q8_code __attribute__((format(printf, 4, 5)))
fail(const q8_blob_name *name, q8_err *err, q8_code code, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return q8_fail(err, code, name->loc, name->layer, "blob %d%s%s%s", name->index,
                   name->file ? " of " : "", name->file ? name->file : "", text);
}

static q8_code set_dims(q8_caffe_blob *blob, const q8_blob_source *source, const q8_blob_name *name,
                        q8_err *err)
{
    /* A writer that fills both means the shape: the old fields cannot say how many dims there are.
     */
    const bool legacy = !source->has_shape && source->has_legacy;
    const size_t n_dim = legacy ? 4 : source->n_dim;
    if (n_dim > Q8_CAFFE_MAX_DIMS)
        return fail(name, err, Q8_EMODEL, " has %zu dimensions, more than %d", n_dim,
                    Q8_CAFFE_MAX_DIMS);
    blob->n_dim = (int)n_dim;
    blob->count = 1;
    for (size_t i = 0; i < n_dim; i++) {
        const int64_t dim = legacy ? source->legacy[i] : source->dim[i];
        if (dim < 0)
            return fail(name, err, Q8_EMODEL, " has a negative dimension, %lld", (long long)dim);
        if (dim > INT_MAX || (blob->count && (size_t)dim > INT_MAX / blob->count))
            return fail(name, err, Q8_EMODEL, " has a shape of more than %d elements", INT_MAX);
        blob->dim[i] = dim;
        blob->count *= (size_t)dim;
    }
    return Q8_OK;
}

/* "64x3x3x3" */
static const char *dims_text(const q8_caffe_blob *blob, char *buf, size_t size)
{
    size_t used = 0;
    buf[0] = 0;
    for (int i = 0; i < blob->n_dim && used < size; i++)
        used += (size_t)snprintf(buf + used, size - used, "%s%lld", i ? "x" : "", blob->dim[i]);
    return buf;
}

static q8_code check_count(const q8_caffe_blob *blob, size_t n, const q8_blob_source *source,
                           const q8_blob_name *name, q8_err *err)
{
    char text[128];
    if (n == blob->count)
        return Q8_OK;
    if (n == 0)
        return fail(name, err, Q8_EMODEL, " holds no data");
    if (!source->has_shape && !source->has_legacy)
        return fail(name, err, Q8_EMODEL, " has no shape");
    return fail(name, err, Q8_EMODEL, " has shape %s, which is %zu elements, but holds %zu",
                dims_text(blob, text, sizeof(text)), blob->count, n);
}

/* --- data ------------------------------------------------------------------------------------- */

static float half_to_float(uint16_t half)
{
    const int exponent = (half >> 10) & 0x1f;
    const float fraction = (float)(half & 0x3ff);
    float value;
    if (exponent == 0)
        value = ldexpf(fraction, -24);
    else if (exponent == 0x1f)
        value = fraction != 0 ? NAN : INFINITY;
    else
        value = ldexpf(fraction + 1024, exponent - 25);
    return half & 0x8000 ? -value : value;
}

static float double_to_float(double value)
{
    return fabs(value) > FLT_MAX ? INFINITY : (float)value;
}

/* The `index`th number of raw data, which need not be aligned. */
static float raw_at(const unsigned char *raw, int type, size_t index)
{
    double d;
    float f;
    switch (type) {
    case RAW_DOUBLE:
        memcpy(&d, raw + index * sizeof(d), sizeof(d));
        return double_to_float(d);
    case RAW_FLOAT:
        memcpy(&f, raw + index * sizeof(f), sizeof(f));
        return f;
    default:
        return half_to_float((uint16_t)(raw[index * 2] | raw[index * 2 + 1] << 8));
    }
}

static q8_code convert_raw(q8_caffe_blob *blob, const q8_blob_source *source,
                           const q8_blob_name *name, q8_arena *arena, q8_err *err)
{
    static const size_t sizes[] = {[RAW_DOUBLE] = 8, [RAW_FLOAT] = 4, [RAW_HALF] = 2};
    if (source->raw_type < RAW_DOUBLE || source->raw_type > RAW_HALF)
        return fail(name, err, Q8_EUNSUPPORTED, " holds raw data of an unknown type, %d",
                    source->raw_type);
    const size_t size = sizes[source->raw_type];
    if (source->raw_size % size)
        return fail(name, err, Q8_EMODEL, " holds %zu raw bytes, not a multiple of %zu",
                    source->raw_size, size);
    const q8_code code = check_count(blob, source->raw_size / size, source, name, err);
    if (code)
        return code;
    float *data = q8_arena_array(arena, blob->count, sizeof(*data));
    if (!data)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < blob->count; i++)
        data[i] = raw_at(source->raw, source->raw_type, i);
    blob->data = data;
    return Q8_OK;
}

static q8_code convert_double(q8_caffe_blob *blob, const q8_blob_source *source,
                              const q8_blob_name *name, q8_arena *arena, q8_err *err)
{
    const q8_code code = check_count(blob, source->n_double_data, source, name, err);
    if (code)
        return code;
    float *data = q8_arena_array(arena, blob->count, sizeof(*data));
    if (!data)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < blob->count; i++)
        data[i] = double_to_float(source->double_data[i]);
    blob->data = data;
    return Q8_OK;
}

static q8_code check_finite(const q8_caffe_blob *blob, const q8_blob_name *name, q8_err *err)
{
    for (size_t i = 0; i < blob->count; i++)
        if (!isfinite(blob->data[i]))
            return fail(name, err, Q8_EMODEL, ": element %zu is not a finite number", i);
    return Q8_OK;
}

q8_code q8_blob_convert(q8_caffe_blob *blob, const q8_blob_source *source, const q8_blob_name *name,
                        q8_arena *arena, q8_err *err)
{
    *blob = (q8_caffe_blob){0};
    q8_code code = set_dims(blob, source, name, err);
    if (code)
        return code;
    if (source->n_double_data) {
        code = convert_double(blob, source, name, arena, err);
    } else if (source->n_data == 0 && source->raw) {
        code = convert_raw(blob, source, name, arena, err);
    } else {
        code = check_count(blob, source->n_data, source, name, err);
        blob->data = source->data;
    }
    return code ? code : check_finite(blob, name, err);
}
