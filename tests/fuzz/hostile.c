/*
 * Files made to exhaust a reader, too large to keep: a file of n bytes costs at most a multiple of
 * n in memory, and deep nesting and huge dims are refused with the line.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "caffe/weights.h"
#include "fuzz.h"
#include "import/import.h"
#include "ncnn/ncnn.h"
#include "passes/passes.h"

/* Promised: so many times the file, and a fixed part. A network: read, imported and optimised. */
enum { TEXT_MULTIPLE = 256, BINARY_MULTIPLE = 4, PARAM_MULTIPLE = 64 };
enum { MIB = 1 << 20, SMALL_PART = MIB, BINARY_PART = 64 * MIB };

static int n_failed;

static void fail(const char *name, const char *what)
{
    printf("FAILED %s: %s\n", name, what);
    n_failed++;
}

/* Bytes of the heap in use. AddressSanitizer's own heap does not count here: always 0. */
static size_t in_use(void)
{
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* --- memory ----------------------------------------------------------------------------------- */

enum reader { TEXT, NETWORK, BINARY, PARAM };

/* `unit` again and again between `head` and `tail`; its '#' is how often it has been there. */
struct repeated {
    enum reader reader;
    const char *name, *head, *unit, *tail;
};

#define INPUT "layer{type:'Input'top:'i'input_param{shape{dim:1 dim:1 dim:1 dim:1}}}"

static const struct repeated repeated[] = {
    {TEXT, "layers", "", "layer{}", ""},
    {TEXT, "named layers", "", "layer{name:'a'type:'a'}", ""},
    {TEXT, "V1 layers", "", "layers{}", ""},
    {TEXT, "V0 layers", "", "layers{layer{}}", ""},
    {TEXT, "typed V0 layers", "", "layers{layer{type:'conv'}}", ""},
    {TEXT, "inputs", "", "input:''", ""},
    {TEXT, "sub-messages", "", "layer{convolution_param{}}", ""},
    {TEXT, "blobs", "layer{type:'a'", "blobs{}", "}"},
    {TEXT, "weights", "layer{type:'a'blobs{data:[", "1,", "1]}}"},
    {TEXT, "double weights", "layer{type:'a'blobs{double_data:[", "1,", "1]}}"},
    {TEXT, "tops", "layer{type:'a'", "top:''", "}"},
    {TEXT, "rules", "layer{type:'a'", "include{}", "}"},
    {TEXT, "shapes", "layer{type:'Input'input_param{", "shape{}", "}}"},
    {TEXT, "dims", "input_shape{dim:[", "1,", "1]}"},
    {TEXT, "string pieces", "name:", "''", ""},
    {TEXT, "unknown fields", "", "u{a:1}v<>", ""},
    {BINARY, "layers", "", "\xa2\x06\x03\x0a\x01x", ""},
    {BINARY, "V1 layers", "", "\x12\x03\x22\x01x", ""},
    {BINARY, "names", "", "\x0a\x01x", ""},
    {BINARY, "unknown fields", "", "\x20\x01", ""},
    {NETWORK, "a chain", INPUT, "layer{name:'#'type:'TanH'bottom:'i'top:'i'}", ""},
    {NETWORK, "equal names", INPUT, "layer{name:'a'type:'TanH'bottom:'i'top:'i'}", ""},
    {NETWORK, "readers of one", INPUT, "layer{type:'TanH'bottom:'i'top:'#'}", ""},
    {NETWORK, "a wide layer", INPUT "layer{type:'Concat'top:'c'", "bottom:'i'", "}"},
    {NETWORK, "many tops", INPUT "layer{type:'Split'bottom:'i'", "top:'#'", "}"},
    {PARAM, "inputs", "7767517\n1 1\n", "Input # 0 1 # 0=1\n", ""},
    {PARAM, "outputs", "7767517\n2 9\nInput a 0 1 a 0=1\nSplit b 1 60000 a", " #", "\n"},
    {PARAM, "one list", "7767517\n2 2\nInput a 0 1 a 0=1\nConvolution b 1 1 a b 9=2 10=1.", ",1.",
     "\n"},
};

static size_t allowed(enum reader reader, size_t size)
{
    switch (reader) {
    case TEXT:
    case NETWORK:
        return TEXT_MULTIPLE * size + SMALL_PART;
    case BINARY:
        return BINARY_MULTIPLE * size + BINARY_PART;
    default:
        return PARAM_MULTIPLE * size + SMALL_PART;
    }
}

static q8_code read_network(const char *text, size_t size, q8_arena *arena, q8_err *err)
{
    const q8_import_opts opts = {0};
    q8_caffe_net *net;
    q8_graph *graph;
    q8_code code = q8_caffe_parse(&net, "deploy.prototxt", text, size, arena, &fuzz_env, err);
    if (!code)
        code = q8_import_caffe(&graph, net, &opts, arena, &fuzz_env, err);
    return code ? code : q8_passes_optimise(graph, err);
}

/* What is read hangs in the arena until it closes, so what is in use at the end was the most. */
static q8_code read_bytes(enum reader reader, const char *bytes, size_t size, q8_arena *arena,
                          q8_err *err)
{
    q8_caffe_net *net;
    q8_weights weights;
    q8_graph *graph;
    switch (reader) {
    case TEXT:
        return q8_caffe_parse(&net, "deploy.prototxt", bytes, size, arena, &fuzz_env, err);
    case NETWORK:
        return read_network(bytes, size, arena, err);
    case BINARY:
        return q8_weights_parse(&weights, "net.caffemodel", (const unsigned char *)bytes, size,
                                arena, err);
    default:
        return q8_ncnn_read(&graph, "net.param", bytes, size, "net.bin", NULL, 0, arena, err);
    }
}

static size_t put_unit(char *out, const char *unit, int count)
{
    const char *mark = strchr(unit, '#');
    size_t n = 0;
    for (; mark; unit = mark + 1, mark = strchr(unit, '#')) {
        memcpy(out + n, unit, (size_t)(mark - unit));
        n += (size_t)(mark - unit);
        n += (size_t)sprintf(out + n, "%d", count);
    }
    strcpy(out + n, unit);
    return n + strlen(unit);
}

/* head + as many units as fit into `size` + tail. */
static char *repeat(const struct repeated *r, size_t size, size_t *total)
{
    enum { ROOM = 256 }; /* for a unit with its numbers, and the tail */
    char *text = malloc(size + 2 * ROOM);
    if (!text)
        abort();
    size_t n = (size_t)sprintf(text, "%s", r->head);
    for (int i = 0; n < size; i++)
        n += put_unit(text + n, r->unit, i);
    *total = n + (size_t)sprintf(text + n, "%s", r->tail);
    return text;
}

static void check_memory(const struct repeated *r, size_t size)
{
    static q8_err err;
    char *bytes = repeat(r, size, &size);
    memset(&err, 0, sizeof(err));
    const size_t before = in_use();
    q8_arena *arena = fuzz_arena();
    const q8_code code = read_bytes(r->reader, bytes, size, arena, &err);
    const size_t used = in_use() - before;
    q8_arena_close(&arena);
    free(bytes);
    fuzz_check(code, &err);
    printf("%-18s %8zu bytes, %5.1f times that: %.60s\n", r->name, size,
           (double)used / (double)size, code ? err.text : "taken");
    if (used > allowed(r->reader, size))
        fail(r->name, "takes more memory than promised");
}

/* --- refused, with the line ------------------------------------------------------------------- */

#define OPEN_INPUT "layer { name: 'i' type: 'Input' top: 'i'\n input_param { shape { dim: 1 "
#define SMALL      OPEN_INPUT "dim: 3 dim: 100 dim: 100 } } }\n"
#define LAYER      SMALL "layer { name: 'x' bottom: 'i' top: 'x'\n "

static const struct huge {
    const char *text;
    int line; /* where it is refused; 0: not at all */
} huge[] = {
    {OPEN_INPUT "dim: 1024 dim: 1024 dim: 1024 } } }", 0}, /* the largest tensor */
    {OPEN_INPUT "dim: 1025 dim: 1024 dim: 1024 } } }", 1},
    {OPEN_INPUT "dim: 2000000000 dim: 2000000000 dim: 2000000000 } } }", 1},
    {OPEN_INPUT "dim: 2147483648 dim: 1 dim: 1 } } }", 2},
    {OPEN_INPUT "dim: 9223372036854775807 dim: 1 dim: 1 } } }", 2},
    {OPEN_INPUT "dim: 99999999999999999999 dim: 1 dim: 1 } } }", 2},
    {LAYER "type: 'Convolution' convolution_param { num_output: 4294967295 kernel_size: 1 } }", 4},
    {LAYER "type: 'Convolution' convolution_param { num_output: 1 kernel_size: 2147483647 } }", 4},
    {LAYER
     "type: 'Convolution' convolution_param { num_output: 1 kernel_size: 1 pad: 1000000000 } }",
     4},
    {LAYER "type: 'Deconvolution' convolution_param { num_output: 1 kernel_size: 1 stride: "
           "2147483647 } }",
     4},
    {LAYER "type: 'InnerProduct' inner_product_param { num_output: 4000000000 } }", 4},
    {LAYER "type: 'Pooling' pooling_param { kernel_size: 1 pad: 2147483647 } }", 4},
    {LAYER "type: 'Reshape' reshape_param { shape { dim: 0 dim: 2147483648 } } }", 4},
};

static void check_refused(const char *name, const char *text, size_t size, int line,
                          const char *words)
{
    static q8_err err;
    const q8_import_opts opts = {0};
    q8_arena *arena = fuzz_arena();
    q8_caffe_net *net;
    q8_graph *graph;
    memset(&err, 0, sizeof(err));
    q8_code code = q8_caffe_parse(&net, "deploy.prototxt", text, size, arena, &fuzz_env, &err);
    if (!code)
        code = q8_import_caffe(&graph, net, &opts, arena, &fuzz_env, &err);
    q8_arena_close(&arena);
    fuzz_check(code, &err);
    printf("line %d: %s\n", err.line, code ? err.text : "taken");
    if (!code != !line)
        fail(name, line ? "is not refused" : "is refused");
    else if (err.line != line)
        fail(name, "the message names another line");
    else if (!strstr(err.text, words))
        fail(name, "is refused with other words");
}

/* Two lines, `head`, then `depth` times `unit` and never an end. */
static void check_nesting(const char *head, const char *unit, int depth)
{
    const size_t length = strlen(unit);
    char *text = malloc(length * (size_t)depth + 32);
    if (!text)
        abort();
    size_t n = (size_t)sprintf(text, "name: 'a'\n\n%s", head);
    for (int i = 0; i < depth; i++, n += length)
        memcpy(text + n, unit, length);
    text[n] = 0;
    check_refused(unit, text, n, 3, "nested more than 100 deep");
    free(text);
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t i = 0; i < sizeof(repeated) / sizeof(repeated[0]); i++) {
        check_memory(&repeated[i], MIB / 4);
        check_memory(&repeated[i], MIB);
    }
    check_memory(&repeated[0], 2 * MIB); /* more messages than are taken */
    for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++)
        check_refused(huge[i].text, huge[i].text, strlen(huge[i].text), huge[i].line, "");
    check_nesting("", "unknown { ", 1000000);
    check_nesting("u: ", "[", 1000000);
    printf("%d failed\n", n_failed);
    return n_failed != 0;
}
