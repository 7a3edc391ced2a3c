/* An ncnn model: the .param text, a zero byte, the .bin. What was read is written and read again.
 */
#include "ncnn/ncnn.h"

#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* A copy of its own, so that reading past the end is seen. */
static void *copy_of(const uint8_t *data, size_t size)
{
    void *copy = malloc(size + 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    ((char *)copy)[size] = 0;
    return copy;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static q8_err err;
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t param_size = zero ? (size_t)(zero - data) : size;
    const size_t bin_size = zero ? size - param_size - 1 : 0;
    char *param = copy_of(data, param_size);
    unsigned char *bin = copy_of(zero ? zero + 1 : data, bin_size);
    q8_arena *arena = fuzz_arena();
    q8_graph *graph = NULL;
    memset(&err, 0, sizeof(err));
    q8_code code =
        q8_ncnn_read(&graph, "in.param", param, param_size, "in.bin", bin, bin_size, arena, &err);
    free(param);
    free(bin);
    if (!code)
        code = fuzz_write_and_read(graph, &err);
    fuzz_check(code, &err);
    q8_arena_close(&arena);
    return 0;
}
