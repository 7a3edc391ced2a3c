/* Reading .param and .bin: what is accepted, what is refused and where, and hostile bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "ncnn/half.h"
#include "ops/conv.h"
#include "ops/rows.h"
#include "test_ncnn_net.h"

static int enter(void **state)
{
    *state = q8_arena_open();
    return *state ? 0 : -1;
}

static int leave(void **state)
{
    q8_arena *arena = *state;
    q8_arena_close(&arena);
    return 0;
}

/* --- what is accepted ------------------------------------------------------------------------- */

static void reads_a_network(void **state)
{
    q8_graph *graph;
    q8_err err;
    q8_buf bin = net_bin();
    assert_int_equal(net_read(&graph, net_param, &bin, *state, &err), Q8_OK);
    assert_int_equal(graph->n_nodes, 11);
    assert_int_equal(graph->n_tensors, 12);
    assert_int_equal(graph->n_outputs, 1);
    assert_string_equal(graph->tensor[graph->output[0]].name, "prob");
    const q8_node *dw = graph->node[NET_DW];
    const q8_conv_attr *a = dw->attr;
    assert_ptr_equal(dw->op, &q8_op_convolutiondepthwise);
    assert_string_equal(dw->name, "dw");
    assert_string_equal(dw->loc.file, "net.param");
    assert_int_equal(dw->loc.line, 9);
    assert_int_equal(a->kernel_h, 3); /* the width's */
    assert_int_equal(a->pad_bottom, 1);
    assert_int_equal(a->dilation_w, 1);
    assert_int_equal(a->activation.params.n, 1);
    assert_true(a->activation.params.v[0] == 0.1f);
    assert_int_equal(dw->weight[0].count, 144);
    assert_int_equal(dw->weight[1].count, 16);
    assert_memory_equal(dw->weight[0].data, bin.data + 4 + 4 * 216 + 4 * 8 + 4, 4 * 144);
    assert_null(dw->quant);
    const q8_shape *shape = &graph->tensor[dw->out[0]].shape;
    assert_true(q8_shape_equal(shape, &(q8_shape){3, {16, 4, 4}}));
    q8_buf_free(&bin);
}

/* White space, both forms of lists, and what ncnn's own tools add. */
static void reads_other_spellings(void **state)
{
    static const char text[] = "\r\n  7767517\r\n\r\n3 \t3\r\n"
                               "Input  a 0 1 a  0=6 1=+5 2=04 -23330=4,3,6,5,4 31=1\r\n"
                               "Convolution c 1 1 a c 0=1 1=1 6=4 9=3 10=-1.5,6e0,\r\n \n"
                               "\tConvolution d 1 1 c d 0=1 1=1 6=1 9=3 -23310=2,0,1.e1";
    q8_graph *graph;
    q8_err err;
    q8_buf bin = {0};
    add_tag(&bin, 0x0002c056);
    add_values(&bin, 4);
    add_tag(&bin, 0);
    add_values(&bin, 1);
    if (net_read(&graph, text, &bin, *state, &err))
        fail_msg("%s", err.text);
    const q8_floats *c = &((q8_conv_attr *)graph->node[1]->attr)->activation.params;
    const q8_floats *d = &((q8_conv_attr *)graph->node[2]->attr)->activation.params;
    assert_true(c->n == 2 && c->v[0] == -1.5f && c->v[1] == 6);
    assert_true(d->n == 2 && d->v[0] == 0 && d->v[1] == 10);
    q8_buf_free(&bin);
}

static const char tiny_param[] = "7767517\n2 2\nInput a 0 1 a 0=1 1=1 2=3\n"
                                 "Convolution c 1 1 a c 0=2 1=1 5=1 6=6 8=%d\n";

static q8_code read_tiny(q8_graph **graph, int term, const q8_buf *bin, q8_arena *arena,
                         q8_err *err)
{
    char text[sizeof(tiny_param) + 16];
    snprintf(text, sizeof(text), tiny_param, term);
    return net_read(graph, text, bin, arena, err);
}

static void reads_every_kind_of_weights(void **state)
{
    q8_graph *graph;
    q8_err err;
    q8_buf bin = {0};
    const float bias[] = {0.25f, -0.5f};
    static const unsigned short half[] = {0x3c00, 0xc000, 0x0001, 0x8000, 0x7bff, 0x3555};
    static const float as_float[] = {1, -2, 0x1p-24f, -0.0f, 65504, 0x1.554p-2f};
    add_tag(&bin, 0x01306b47);
    q8_buf_add(&bin, half, sizeof(half));
    q8_buf_add(&bin, bias, 8);
    assert_int_equal(read_tiny(&graph, 0, &bin, *state, &err), Q8_OK);
    assert_memory_equal(graph->node[1]->weight[0].data, as_float, sizeof(as_float));
    assert_memory_equal(graph->node[1]->weight[1].data, bias, sizeof(bias));
    q8_buf_free(&bin);

    add_tag(&bin, 1); /* a palette */
    add_values(&bin, 256);
    q8_buf_add(&bin, "\0\1\2\xff\0\7\0\0", 8);
    q8_buf_add(&bin, bias, 8);
    assert_int_equal(read_tiny(&graph, 0, &bin, *state, &err), Q8_OK);
    assert_memory_equal(&graph->node[1]->weight[0].data[3], bin.data + 4 + 4 * 255, 4);
    q8_buf_free(&bin);
}

static void reads_int8(void **state)
{
    q8_graph *graph;
    q8_err err;
    q8_buf bin = {0};
    const float bias[] = {0.25f, -0.5f}, scales[] = {2, 0, 50, 10};
    add_tag(&bin, 0x000d4b38);
    q8_buf_add(&bin, "\1\xff\x7f\3\4\5\0\0", 8);
    q8_buf_add(&bin, bias, 8);
    q8_buf_add(&bin, scales, 16);
    assert_int_equal(read_tiny(&graph, 102, &bin, *state, &err), Q8_OK);
    const q8_quant *q = graph->node[1]->quant;
    assert_memory_equal(q->weight, "\1\xff\x7f\3\4\5", 6);
    assert_int_equal(q->n_weight_scales, 2);
    assert_memory_equal(q->weight_scales, scales, 8);
    assert_true(q->bottom_scale == 50 && q->top_scale == 10);
    assert_null(graph->node[1]->weight[0].data);
    /* The same bytes, but no output scale announced. */
    assert_int_equal(read_tiny(&graph, 2, &bin, *state, &err), Q8_EFORMAT);
    assert_non_null(strstr(err.text, "4 bytes are left over at byte 32"));
    q8_buf_free(&bin);

    /* Float weights with scales: ncnn quantises them when it loads them. */
    const float weight[] = {1.25f, -100, 0.2f, 1, 2, 3};
    add_tag(&bin, 0);
    q8_buf_add(&bin, weight, sizeof(weight));
    q8_buf_add(&bin, bias, 8);
    q8_buf_add(&bin, scales, 12);
    assert_int_equal(read_tiny(&graph, 2, &bin, *state, &err), Q8_OK);
    assert_memory_equal(graph->node[1]->quant->weight, "\3\x81\0\0\0\0", 6);
    assert_memory_equal(graph->node[1]->weight[0].data, weight, sizeof(weight));
    assert_true(graph->node[1]->quant->top_scale == 0);
    q8_buf_free(&bin);
}

/* A ConvolutionDepthWise stores a scale per group or a single one, as its term says. */
static void reads_depthwise_scales(void **state)
{
    static const char text[] = "7767517\n2 2\nInput a 0 1 a 0=1 1=1 2=3\n"
                               "ConvolutionDepthWise c 1 1 a c 0=3 1=1 6=3 7=3 8=%d\n";
    const struct {
        int term;
        size_t weight_scales, stored;
    } list[] = {{1, 3, 4}, {2, 1, 2}, {101, 3, 5}, {102, 1, 3}};
    const float scales[] = {2, 4, 8, 16, 32};
    for (int i = 0; i < 4; i++) {
        char param[sizeof(text) + 16];
        q8_graph *graph;
        q8_err err;
        q8_buf bin = {0};
        snprintf(param, sizeof(param), text, list[i].term);
        add_tag(&bin, 0x000d4b38);
        q8_buf_add(&bin, "\1\2\3\0", 4);
        q8_buf_add(&bin, scales, 4 * list[i].stored);
        assert_int_equal(net_read(&graph, param, &bin, *state, &err), Q8_OK);
        assert_int_equal(graph->node[1]->quant->n_weight_scales, list[i].weight_scales);
        assert_true(graph->node[1]->quant->bottom_scale == scales[list[i].weight_scales]);
        q8_buf_free(&bin);
    }
}

/* --- what is refused -------------------------------------------------------------------------- */

static void names_the_place_of_an_error(void **state)
{
#define HEAD "7767517\n2 2\nInput a 0 1 a 0=4 1=4 2=2\n"
    static const struct {
        const char *text;
        q8_code code;
        int line, column;
        const char *says;
    } list[] = {
        {"", Q8_EFORMAT, 1, 1, "not an ncnn param file"},
        {"\xdd\x85\x76", Q8_EFORMAT, 1, 1, "not an ncnn param file"},
        {"77675170\n1 1\n", Q8_EFORMAT, 1, 1, "not an ncnn param file"},
        {"7767517 1 1\n", Q8_EFORMAT, 1, 9, "the line's end expected, not '1'"},
        {"7767517\n", Q8_EFORMAT, 2, 1, "the number of layers expected, not the line's end"},
        {"7767517\n1\nInput", Q8_EFORMAT, 2, 2, "the number of blobs expected"},
        {"7767517\n-1 1\n", Q8_EFORMAT, 2, 1, "the number of layers expected, not '-1'"},
        {"7767517\n1 99999999999\n", Q8_EFORMAT, 2, 3, "the number of blobs expected"},
        {"7767517\n1 1 1\n", Q8_EFORMAT, 2, 5, "the line's end expected"},
        {"7767517\n0 0\n", Q8_EFORMAT, 2, 1, "a network without layers"},
        {HEAD, Q8_EFORMAT, 2, 1, "2 layers and 2 blobs are announced, but there are 1 and 1"},
        {"7767517\n2000000000 1\nInput a 0 1 a 0=4\n", Q8_EFORMAT, 2, 1, "2000000000 layers"},
        {HEAD "ReLU r 1 1 a b\nReLU s 1 1 b c", Q8_EFORMAT, 2, 1, "are 3 and 3"},
        {HEAD "Foo f 1 1 a b\nReLU\n  Bar b 1 1\nBaz", Q8_EUNSUPPORTED, 4, 1,
         "3 layers of a type that this program does not have:\n  line 4: Foo 'f'\n"
         "  line 6: Bar 'b'\n  line 7: Baz ''"},
        {HEAD "relu r 1 1 a b", Q8_EUNSUPPORTED, 4, 1, "1 layer of a type"},
        {"7767517\n1 1\nInput a 0 1 a\n", Q8_EMODEL, 3, 1, "the input's size is missing"},
        {"7767517\n1 1\nInput a 0 1 a -23330=4,3,1,1,1\n", Q8_EMODEL, 3, 1, "size is missing"},
        {"7767517\n1 1\nInput a 0 1 a 0=-1\n", Q8_EMODEL, 3, 1, ""},
        {HEAD "ReLU", Q8_EFORMAT, 4, 5, "a layer name expected, not the line's end"},
        {HEAD "ReLU r", Q8_EFORMAT, 4, 7, "the number of inputs expected"},
        {HEAD "ReLU r 1 b", Q8_EFORMAT, 4, 10, "the number of outputs expected, not 'b'"},
        {HEAD "ReLU r -1 1 b", Q8_EFORMAT, 4, 8, "the number of inputs expected, not '-1'"},
        {HEAD "ReLU r 1 2000000000 a b", Q8_EFORMAT, 4, 1, "but the line ends"},
        {HEAD "ReLU r 2147483647 2147483647 a b", Q8_EFORMAT, 4, 1, "but the line ends"},
        {HEAD "Concat r 2 1 a\n", Q8_EFORMAT, 4, 1, "2 inputs and 1 outputs, but the line ends"},
        {HEAD "ReLU r 1 1 nope b", Q8_EFORMAT, 4, 12, "blob 'nope' is not made by a layer before"},
        {HEAD "ReLU r 1 1 b b", Q8_EFORMAT, 4, 12, "blob 'b' is not made by a layer before"},
        {HEAD "ReLU r 1 1 a a", Q8_EFORMAT, 4, 14, "blob 'a' is made a second time"},
        {HEAD "Split r 1 2 a b b", Q8_EFORMAT, 4, 17, "blob 'b' is made a second time"},
        {HEAD "Concat r 2 1 a a b", Q8_EFORMAT, 4, 16, "read a second time, which needs a Split"},
        {HEAD "ReLU r 0 1 b", Q8_EMODEL, 4, 1, "ReLU cannot have 0 inputs"},
        {HEAD "ReLU r 1 1 a b 0", Q8_EFORMAT, 4, 16, "key=value was expected: '0'"},
        {HEAD "ReLU r 1 1 a b =1", Q8_EFORMAT, 4, 16, "key=value was expected"},
        {HEAD "ReLU r 1 1 a b 32=1", Q8_EFORMAT, 4, 16, "a key must be 0 to 31"},
        {HEAD "ReLU r 1 1 a b -1=1", Q8_EFORMAT, 4, 16, "a key must be 0 to 31"},
        {HEAD "ReLU r 1 1 a b -2147483648=1", Q8_EFORMAT, 4, 16, "a key must be 0 to 31"},
        {HEAD "ReLU r 1 1 a b 7=1", Q8_EUNSUPPORTED, 4, 16, "ReLU has no parameter 7"},
        {HEAD "ReLU r 1 1 a b 0=", Q8_EFORMAT, 4, 18, "a float was expected"},
        {HEAD "ReLU r 1 1 a b 0=1", Q8_EFORMAT, 4, 18, "a float was expected"},
        {HEAD "ReLU r 1 1 a b 0=nan", Q8_EFORMAT, 4, 18, "a float was expected"},
        {HEAD "ReLU r 1 1 a b 0=0.1,0.2", Q8_EFORMAT, 4, 18, "not a number that ncnn can read"},
        {HEAD "ReLU r 1 1 a b 0=0.1 0=0.2", Q8_EFORMAT, 4, 22, "the key was given before"},
        {HEAD "ReLU r 1 1 a b -23300=1,0.5", Q8_EFORMAT, 4, 16, "one number was expected"},
        {HEAD "ReLU r 1 1 a b 0=-3.552864952e+02", Q8_EFORMAT, 4, 18, "at most 15 characters"},
        {HEAD "Softmax r 1 1 a b 0=1.0", Q8_EFORMAT, 4, 21, "an int was expected"},
        {HEAD "Softmax r 1 1 a b 0=\"x\"", Q8_EFORMAT, 4, 21, "an int was expected"},
        {HEAD "Slice r 1 1 a b 0=5", Q8_EFORMAT, 4, 19, "a list was expected"},
        {HEAD "Slice r 1 1 a b -23300=2,5", Q8_EFORMAT, 4, 24, "the list's count is not that"},
        {HEAD "Slice r 1 1 a b -23300=1,5,", Q8_EFORMAT, 4, 24, "the list's count is not that"},
        {HEAD "Slice r 1 1 a b -23300=2147483647,1", Q8_EFORMAT, 4, 24, "the list's count is not"},
        {HEAD "Slice r 1 1 a b -23300=-1", Q8_EFORMAT, 4, 24, "the list's count was expected"},
        {HEAD "Slice r 1 1 a b -23300=2,1,,", Q8_EFORMAT, 4, 24, "the list's count is not"},
        {HEAD "Slice r 1 1 a b 0=1,,2", Q8_EFORMAT, 4, 21, "an int was expected"},
        {HEAD "Slice r 1 1 a b 0=1,2.5", Q8_EFORMAT, 4, 21, "an int was expected"},
        {HEAD "ReLU r\x1b 1 1 a b", Q8_EFORMAT, 4, 6, "a control character"},
    };
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        q8_graph *graph;
        q8_err err;
        const q8_buf none = {0};
        const q8_code code = net_read(&graph, list[i].text, &none, *state, &err);
        if (code != list[i].code || err.line != list[i].line || err.column != list[i].column ||
            !strstr(err.text, list[i].says) || graph || strcmp(err.file, "net.param") != 0)
            fail_msg("case %zu: code %d, %s:%d:%d: %s", i, code, err.file, err.line, err.column,
                     err.text);
    }
}

static void a_name_may_have_255_bytes(void **state)
{
    char text[600], name[257];
    for (int n = 255; n <= 256; n++) {
        q8_graph *graph;
        q8_err err;
        const q8_buf none = {0};
        memset(name, 'x', (size_t)n);
        name[n] = '\0';
        snprintf(text, sizeof(text), "7767517\n1 1\nInput i 0 1 %s 0=4\n", name);
        assert_int_equal(net_read(&graph, text, &none, *state, &err),
                         n == 255 ? Q8_OK : Q8_EFORMAT);
    }
}

static void lists_very_many_unknown_layers(void **state)
{
    q8_buf text = {0};
    q8_graph *graph;
    q8_err err;
    const q8_buf none = {0};
    q8_buf_printf(&text, "7767517\n5000 1\n");
    for (int i = 0; i < 5000; i++)
        q8_buf_printf(&text, "Unknown%0200d name%0300d 0 0\n", i, i);
    assert_int_equal(net_read(&graph, (char *)text.data, &none, *state, &err), Q8_EUNSUPPORTED);
    assert_non_null(strstr(err.text, "5000 layers of a type"));
    assert_non_null(strstr(err.text, " more"));
    assert_true(strlen(err.text) < sizeof(err.text) - 1);
    q8_buf_free(&text);
}

static void bins_that_do_not_fit(void **state)
{
    const float inf = INFINITY, minus = -1, good[] = {2, 2, 50};
    static const struct {
        uint32_t tag;
        int term;
        const char *says;
    } list[] = {
        {0, 0, "bias: 2 values of 4 bytes do not fit into the 0 bytes left at byte 28"},
        {0x000d4b38, 0, "weight is int8 at byte 0, but the layer has no scales for it (8=)"},
        {0, 3, "int8_scale_term 3 does not fit"},
        {0, -1, "int8_scale_term -1 does not fit"},
        {0x12345678, 0, "palette: 256 values of 4 bytes do not fit"},
    };
    q8_graph *graph;
    q8_err err;
    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
        q8_buf bin = {0};
        add_tag(&bin, list[i].tag);
        add_values(&bin, 6);
        if (list[i].term)
            add_values(&bin, 2);
        assert_int_equal(read_tiny(&graph, list[i].term, &bin, *state, &err), Q8_EFORMAT);
        if (!strstr(err.text, list[i].says))
            fail_msg("%s", err.text);
        assert_string_equal(err.layer, "c");
        q8_buf_free(&bin);
    }
    for (int bad = 0; bad < 3; bad++)
        for (int kind = 0; kind < 2; kind++) {
            float scales[3];
            q8_buf bin = {0};
            memcpy(scales, good, sizeof(scales));
            scales[bad] = kind ? inf : minus;
            add_tag(&bin, 0);
            add_values(&bin, 8);
            q8_buf_add(&bin, scales, sizeof(scales));
            assert_int_equal(read_tiny(&graph, 2, &bin, *state, &err), Q8_EFORMAT);
            assert_string_equal(err.file, "net.bin");
            q8_buf_free(&bin);
        }
}

/* Far more weights than the file has: refused before any memory is taken for them. */
static void a_count_beyond_the_file(void **state)
{
    static const char text[] = "7767517\n2 2\nInput a 0 1 a 0=32000\n"
                               "InnerProduct c 1 1 a c 0=32000 1=1 2=1024000000\n";
    q8_graph *graph;
    q8_err err;
    q8_buf bin = {0};
    add_tag(&bin, 0);
    add_values(&bin, 100);
    assert_int_equal(net_read(&graph, text, &bin, *state, &err), Q8_EFORMAT);
    assert_non_null(strstr(err.text, "1024000000 values of 4 bytes do not fit into the 400 bytes"));
    q8_buf_free(&bin);
}

/* --- hostile bytes ---------------------------------------------------------------------------- */

/* Reads from exact-size copies, so that a read past the end is seen by the sanitizer. */
static q8_code read_copy(const char *param, size_t param_size, const unsigned char *bin,
                         size_t bin_size)
{
    char *p = malloc(param_size ? param_size : 1);
    unsigned char *b = malloc(bin_size ? bin_size : 1);
    memcpy(p, param, param_size);
    memcpy(b, bin, bin_size);
    q8_arena *arena = q8_arena_open();
    q8_graph *graph;
    q8_err err = {0};
    const q8_code code = q8_ncnn_read(&graph, "p", p, param_size, "b", b, bin_size, arena, &err);
    assert_int_equal(code, err.code);
    assert_true(!code == !!graph);
    q8_arena_close(&arena);
    free(p);
    free(b);
    return code;
}

static void every_truncation_is_an_error(void **state)
{
    (void)state;
    q8_buf bin = net_bin();
    const size_t size = sizeof(net_param) - 1;
    const size_t last = size - strlen("prob 1=1\n"); /* half of the last name is a name too */
    for (size_t i = 0; i < size; i++)
        if (!read_copy(net_param, i, bin.data, bin.size) && i <= last)
            fail_msg("%zu of %zu bytes of the param were accepted", i, size);
    for (size_t i = 0; i < bin.size; i += i < 300 ? 1 : 37)
        assert_int_equal(read_copy(net_param, size, bin.data, i), Q8_EFORMAT);
    q8_buf_free(&bin);
}

static uint32_t next_random(uint32_t *x)
{
    *x = *x * 1664525 + 1013904223;
    return *x >> 8;
}

static void random_damage_is_survived(void **state)
{
    (void)state;
    static const char letters[] = "0123456789-+.,=e \n\t\r\0aInput";
    q8_buf bin = net_bin();
    uint32_t seed = 1;
    int accepted = 0;
    for (int i = 0; i < 6000; i++) {
        char param[sizeof(net_param)];
        memcpy(param, net_param, sizeof(param));
        const size_t changes = 1 + next_random(&seed) % 4;
        for (size_t k = 0; k < changes; k++) {
            const size_t at = next_random(&seed) % (sizeof(net_param) - 1);
            param[at] = k % 4 == 3 ? (char)next_random(&seed)
                                   : letters[next_random(&seed) % (sizeof(letters) - 1)];
        }
        accepted += !read_copy(param, sizeof(param) - 1, bin.data, bin.size);
    }
    assert_in_range(accepted, 1, 3000); /* a changed name, a changed slope */
    for (int i = 0; i < 2000; i++) {
        const size_t at = next_random(&seed) % (i % 2 ? bin.size : 8);
        const unsigned char old = bin.data[at];
        bin.data[at] ^= (unsigned char)(1 << next_random(&seed) % 8);
        read_copy(net_param, sizeof(net_param) - 1, bin.data, bin.size);
        bin.data[at] = old;
    }
    q8_buf_free(&bin);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(reads_a_network),
        TEST(reads_other_spellings),
        TEST(reads_every_kind_of_weights),
        TEST(reads_int8),
        TEST(reads_depthwise_scales),
        TEST(names_the_place_of_an_error),
        TEST(a_name_may_have_255_bytes),
        TEST(lists_very_many_unknown_layers),
        TEST(bins_that_do_not_fit),
        TEST(a_count_beyond_the_file),
        TEST(every_truncation_is_an_error),
        TEST(random_damage_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
