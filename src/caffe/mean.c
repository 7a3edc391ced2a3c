#include "caffe/mean.h"

#include "base/file.h"
#include "base/limits.h"
#include "caffe/blob.h"
#include "caffe/sniff.h"
#include "caffe/wire.h"
#include "weights.pb-c.h"

static q8_code check_bytes(const q8_loc *loc, const q8_bytes *bytes, q8_err *err)
{
    size_t cost;
    q8_wire_fault fault;
    const char *other = q8_sniff(bytes->data, bytes->size);
    if (!other && q8_sniff_is_text(bytes->data, bytes->size))
        other = "a text file";
    if (other)
        return q8_fail(err, Q8_EFORMAT, loc, NULL, "%s, not a .binaryproto or .npy mean", other);
    if (!q8_wire_check(&weights__blob__descriptor, bytes->data, bytes->size, &cost, &fault) ||
        !q8_wire_is_worth(cost, bytes->size))
        return q8_fail(err, Q8_EFORMAT, loc, NULL,
                       "not a .binaryproto or .npy mean, or a truncated one");
    return Q8_OK;
}

static q8_code convert(q8_caffe_blob *mean, const Weights__Blob *blob, const q8_loc *loc,
                       q8_arena *arena, q8_err *err)
{
    const q8_blob_source source = {Q8_BLOB_SOURCE(blob)};
    const q8_blob_name name = {.loc = loc};
    if (source.n_data == 0 && source.n_double_data == 0)
        return q8_fail(err, Q8_EFORMAT, loc, NULL, "no numbers in it: not a .binaryproto mean");
    return q8_blob_convert(mean, &source, &name, arena, err);
}

q8_code q8_caffe_mean_read(q8_caffe_blob *mean, const char *path, q8_arena *arena, q8_err *err)
{
    q8_bytes bytes;
    const q8_loc loc = {.file = path};
    ProtobufCAllocator allocator = q8_wire_allocator(arena);
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_MEAN_FILE, err);
    if (code == Q8_OK)
        code = check_bytes(&loc, &bytes, err);
    if (code == Q8_OK) {
        const Weights__Blob *blob = weights__blob__unpack(&allocator, bytes.size, bytes.data);
        code = blob ? convert(mean, blob, &loc, arena, err) : q8_fail_nomem(err);
    }
    q8_bytes_free(&bytes);
    return code;
}
