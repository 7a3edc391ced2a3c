/* A mean picture, .binaryproto or .npy, from its file; and an .npy tensor, read in two pieces. */
#include "calib/mean.h"

#include <stdlib.h>
#include <string.h>

#include "calib/npy.h"
#include "fuzz.h"

static void read_mean(const char *path)
{
    static q8_err err;
    q8_mean mean;
    q8_arena *arena = fuzz_arena();
    memset(&err, 0, sizeof(err));
    fuzz_check(q8_mean_read(&mean, path, arena, &err), &err);
    q8_arena_close(&arena);
}

static void read_tensor(const char *path)
{
    static q8_err err;
    q8_npy npy;
    memset(&err, 0, sizeof(err));
    q8_code code = q8_npy_open(&npy, path, &err);
    fuzz_check(code, &err);
    if (code)
        return;
    const size_t half = npy.count / 2;
    float *out = malloc((npy.count - half) * sizeof(*out) + 1);
    if (!out)
        abort();
    code = q8_npy_read(&npy, 0, half, out, &err);
    if (!code)
        code = q8_npy_read(&npy, half, npy.count - half, out, &err);
    fuzz_check(code, &err);
    free(out);
    q8_npy_close(&npy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    read_mean(path);
    if (q8_npy_probe(data, size))
        read_tensor(path);
    return 0;
}
