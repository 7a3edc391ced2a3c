#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ncnn/check.h"
#include "ncnn/ncnn.h"

static void show(const q8_err *err, const char *what)
{
    static char text[sizeof(*err) + 64];
    q8_err_format(err, "error", text, sizeof(text));
    fprintf(stderr, "fuzz: %s: %s\n", what, text);
}

static void ignore_warning(void *user, const q8_err *what)
{
    static char text[sizeof(*what) + 64];
    (void)user;
    q8_err_format(what, "warning", text, sizeof(text));
}

const q8_env fuzz_env = {.warn = ignore_warning, .threads = 1};

void fuzz_check(q8_code code, const q8_err *err)
{
    char text[128]; /* too small on purpose: it must be cut off */
    if (err->code != code || code == Q8_EINTERNAL || (code && !err->text[0])) {
        show(err, "a broken promise");
        abort();
    }
    if (code)
        q8_err_format(err, "error", text, sizeof(text));
}

void fuzz_must(q8_code code, const q8_err *err, const char *what)
{
    if (!code)
        return;
    show(err, what);
    abort();
}

q8_arena *fuzz_arena(void)
{
    q8_arena *arena = q8_arena_open();
    if (!arena)
        abort();
    return arena;
}

const char *fuzz_file(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    return path;
}

q8_code fuzz_write_and_read(const q8_graph *graph, q8_err *err)
{
    q8_buf param = {0}, bin = {0};
    q8_graph *back;
    q8_code code = q8_ncnn_param(graph, &param, err);
    if (!code)
        code = q8_ncnn_bin(graph, false, &bin, err);
    if (!code) {
        fuzz_must(q8_ncnn_read(&back, "out.param", (const char *)param.data, param.size, "out.bin",
                               bin.data, bin.size, graph->arena, err),
                  err, "what was written cannot be read");
        fuzz_must(q8_ncnn_check(graph, back, false, err), err, "read back, but not the same");
    }
    q8_buf_free(&param);
    q8_buf_free(&bin);
    return code;
}

/* Of its own, so that reading past the end is seen. */
static void *copy_of(const void *data, size_t size)
{
    void *copy = malloc(size ? size : 1);
    if (!copy)
        abort();
    if (size)
        memcpy(copy, data, size);
    return copy;
}

void fuzz_ncnn(const void *param, size_t param_size, const void *bin, size_t bin_size)
{
    static q8_err err;
    char *text = copy_of(param, param_size);
    unsigned char *weights = copy_of(bin, bin_size);
    q8_arena *arena = fuzz_arena();
    q8_graph *graph = NULL;
    memset(&err, 0, sizeof(err));
    q8_code code = q8_ncnn_read(&graph, "in.param", text, param_size, "in.bin", weights, bin_size,
                                arena, &err);
    free(text);
    free(weights);
    if (!code)
        code = fuzz_write_and_read(graph, &err);
    fuzz_check(code, &err);
    q8_arena_close(&arena);
}
