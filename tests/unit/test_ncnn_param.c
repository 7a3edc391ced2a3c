/* Writing: the exact text and bytes of small networks made of layers that only exist here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "ncnn/names.h"
#include "ncnn/ncnn.h"

struct all_kinds {
    int width, height;
    float slope;
    q8_ints axes;
    q8_floats sizes;
    int n_weights;
};

static const q8_field all_fields[] = {
    Q8_FIELD_INT(struct all_kinds, width, 0, 3),
    Q8_FIELD_SAME(struct all_kinds, height, 10, 0),
    Q8_FIELD_FLOAT(struct all_kinds, slope, 1, 0.1f),
    Q8_FIELD_INTS(struct all_kinds, axes, 2),
    Q8_FIELD_FLOATS(struct all_kinds, sizes, 3),
};

static size_t weights_of(const void *attr)
{
    return (size_t)((const struct all_kinds *)attr)->n_weights;
}

static size_t one(const void *attr)
{
    (void)attr;
    return ((const struct all_kinds *)attr)->n_weights > 0;
}

static const q8_weight_spec specs[] = {{"weight", true, weights_of}, {"bias", false, one}};

static const q8_op fake_source = {.type = "Source", .max_out = 1};
static const q8_op fake_layer = {
    .type = "AllKindsOfParameters",
    .attr_size = sizeof(struct all_kinds),
    .fields = all_fields,
    .n_fields = sizeof(all_fields) / sizeof(all_fields[0]),
    .weights = specs,
    .n_weights = 2,
};

struct net {
    q8_arena *arena;
    q8_graph *graph;
};

static int enter(void **state)
{
    static struct net net;
    net.arena = q8_arena_open();
    net.graph = q8_graph_new(net.arena);
    *state = &net;
    return 0;
}

static int leave(void **state)
{
    struct net *net = *state;
    q8_arena_close(&net->arena);
    return 0;
}

/* A node that reads `in` (-1: nothing) and makes one tensor, whose id is returned. */
static int add(q8_graph *graph, const q8_op *op, const char *name, int in, const char *out,
               struct all_kinds **attr)
{
    q8_node *node = q8_node_new(graph->arena, op, name, in >= 0, 1);
    const int tensor = q8_graph_add_tensor(graph, out, NULL);
    if (in >= 0)
        node->in[0] = in;
    node->out[0] = tensor;
    if (op == &fake_layer) {
        *(struct all_kinds *)node->attr =
            (struct all_kinds){.width = 3, .height = 3, .slope = 0.1f};
        if (attr)
            *attr = node->attr;
    }
    assert_true(q8_graph_insert(graph, node, graph->n_nodes));
    return tensor;
}

static void assert_param(const q8_graph *graph, const char *want)
{
    q8_buf text = {0};
    q8_err err = {0};
    assert_int_equal(q8_ncnn_param(graph, &text, &err), Q8_OK);
    assert_string_equal((char *)text.data, want);
    q8_buf_free(&text);
}

static void exact_text(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    struct all_kinds *a;
    static const int axes[] = {-1, 2147483647};
    static const float sizes[] = {60, -0.333333343f, 3.402823466e38f};
    int t = add(graph, &fake_source, "data", -1, "data", NULL);
    t = add(graph, &fake_layer, "plain", t, "plain", NULL);
    t = add(graph, &fake_layer, "all", t, "top", &a);
    *a = (struct all_kinds){5, 7, -0.0f, {2, axes}, {3, sizes}, 0};
    t = add(graph, &fake_layer, "a-name-of-more-than-24-characters", t, "x", &a);
    a->width = a->height = 4; /* the height's default is the width */
    t = add(graph, &fake_layer, "h", t, "y", &a);
    a->height = 0;
    assert_param(graph,
                 "7767517\n"
                 "5 5\n"
                 "Source           data                     0 1 data\n"
                 "AllKindsOfParameters plain                    1 1 data plain\n"
                 "AllKindsOfParameters all                      1 1 plain top 0=5 10=7 1=-0.0"
                 " -23302=2,-1,2147483647 -23303=3,60.0,-0.33333334,3.4028235e+38\n"
                 "AllKindsOfParameters a-name-of-more-than-24-characters 1 1 top x 0=4\n"
                 "AllKindsOfParameters h                        1 1 x y 10=0\n");
}

static void odd_names(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    int t = add(graph, &fake_source, "in put", -1, "a b", NULL);
    t = add(graph, &fake_layer, "same", t, "a=b", NULL);
    t = add(graph, &fake_layer, "same", t, "a_b", NULL);
    t = add(graph, &fake_layer, "evil\nReLU x 0 0\t0=1", t, "", NULL);
    t = add(graph, &fake_layer, "", t, "a\xc3\xa4\x7f", NULL);
    t = add(graph, &fake_layer, "in_put", t, "dup", NULL);
    t = add(graph, &fake_layer, "same", t, "dup", NULL);
    graph->output = &t;
    graph->n_outputs = 1;
    assert_param(graph, "7767517\n"
                        "7 7\n"
                        "Source           in_put_1                 0 1 a_b_1\n"
                        "AllKindsOfParameters same                     1 1 a_b_1 a_b_2\n"
                        "AllKindsOfParameters same_1                   1 1 a_b_2 a_b\n"
                        "AllKindsOfParameters evil_ReLU_x_0_0_0_1      1 1 a_b unnamed\n"
                        "AllKindsOfParameters unnamed                  1 1 unnamed a\xc3\xa4_\n"
                        "AllKindsOfParameters in_put                   1 1 a\xc3\xa4_ dup_1\n"
                        "AllKindsOfParameters same_2                   1 1 dup_1 dup\n");
}

static void long_names(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    q8_ncnn_names names;
    q8_err err = {0};
    char name[3][400];
    for (int i = 0; i < 3; i++) {
        memset(name[i], 'n', sizeof(name[i]));
        name[i][399] = '\0';
    }
    name[0][255] = '\0';                  /* just fits */
    memcpy(name[2] + 238, "\xc3\xa4", 2); /* would be cut in two */
    int t = add(graph, &fake_source, name[0], -1, name[0], NULL);
    for (int i = 0; i < 4; i++)
        t = add(graph, &fake_layer, name[1], t, name[1 + i / 3], NULL);
    assert_int_equal(q8_ncnn_names_make(graph, &names, &err), Q8_OK);
    assert_string_equal(names.node[0], name[0]);
    for (int i = 0; i < 5; i++) {
        assert_in_range(strlen(names.node[i]), 1, 255);
        assert_in_range(strlen(names.tensor[i]), 1, 255);
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(names.node[i], names.node[k]);
            assert_string_not_equal(names.tensor[i], names.tensor[k]);
        }
    }
    assert_int_equal(strlen(names.tensor[4]), 238);
}

static void many_equal_names_are_quick(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    q8_ncnn_names names;
    q8_err err = {0};
    int t = add(graph, &fake_source, "x", -1, "x", NULL);
    for (int i = 0; i < 20000; i++)
        t = add(graph, &fake_layer, "x", t, "x", NULL);
    assert_int_equal(q8_ncnn_names_make(graph, &names, &err), Q8_OK);
    assert_string_equal(names.tensor[20000], "x_20000");
}

static void broken_edges_are_found(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    q8_buf text = {0};
    q8_err err = {0};
    const int data = add(graph, &fake_source, "data", -1, "data", NULL);
    add(graph, &fake_layer, "a", data, "a", NULL);
    add(graph, &fake_layer, "b", data, "b", NULL);
    assert_int_equal(q8_ncnn_param(graph, &text, &err), Q8_EINTERNAL);
    assert_string_equal(err.layer, "b");
    assert_string_equal(err.text, "input 'data' is read twice");
    err = (q8_err){0};
    graph->node[2]->in[0] = q8_graph_add_tensor(graph, "ghost", NULL);
    assert_int_equal(q8_ncnn_param(graph, &text, &err), Q8_EINTERNAL);
    assert_string_equal(err.text, "input 'ghost' is not made by a layer before it");
    err = (q8_err){0};
    graph->node[2]->in[0] = graph->node[1]->out[0];
    graph->node[2]->out[0] = data;
    assert_int_equal(q8_ncnn_param(graph, &text, &err), Q8_EINTERNAL);
    assert_string_equal(err.text, "output 'data' is made twice");
    q8_buf_free(&text);
}

static void numbers_that_ncnn_cannot_hold(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    q8_buf text = {0};
    q8_err err = {0};
    struct all_kinds *a;
    static const float sizes[] = {1, NAN};
    const int t = add(graph, &fake_source, "data", -1, "data", NULL);
    add(graph, &fake_layer, "layer", t, "top", &a);
    a->slope = INFINITY;
    assert_int_equal(q8_ncnn_param(graph, &text, &err), Q8_EMODEL);
    assert_string_equal(err.layer, "layer");
    a->slope = 0.1f;
    a->sizes = (q8_floats){2, sizes};
    err = (q8_err){0};
    assert_int_equal(q8_ncnn_param(graph, &text, &err), Q8_EMODEL);
    q8_buf_free(&text);
}

/* --- the bin ---------------------------------------------------------------------------------- */

static void assert_bin(const q8_graph *graph, bool fp16, const char *want, size_t size)
{
    q8_buf bytes = {0};
    q8_err err = {0};
    assert_int_equal(q8_ncnn_bin(graph, fp16, &bytes, &err), Q8_OK);
    assert_int_equal(bytes.size, size);
    assert_memory_equal(bytes.data, want, size);
    q8_buf_free(&bytes);
}

static void exact_bytes(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    struct all_kinds *a;
    static const float weight[] = {1, -2, 0.5f}, large[] = {1, 65520, 0}, bias[] = {3};
    const int t = add(graph, &fake_source, "data", -1, "data", NULL);
    add(graph, &fake_layer, "layer", t, "top", &a);
    a->n_weights = 3;
    graph->node[1]->weight[0] = (q8_weight){weight, 3};
    graph->node[1]->weight[1] = (q8_weight){bias, 1};
    assert_bin(graph, false, "\0\0\0\0\0\0\x80\x3f\0\0\0\xc0\0\0\0\x3f\0\0\x40\x40", 20);
    assert_bin(graph, true, "\x47\x6b\x30\x01\0\x3c\0\xc0\0\x38\0\0\0\0\x40\x40", 16);
    /* What a half cannot hold stays as it is. */
    graph->node[1]->weight[0].data = large;
    assert_bin(graph, true, "\0\0\0\0\0\0\x80\x3f\0\xf0\x7f\x47\0\0\0\0\0\0\x40\x40", 20);
}

static void weights_must_fit_their_parameters(void **state)
{
    q8_graph *graph = ((struct net *)*state)->graph;
    struct all_kinds *a;
    q8_buf bytes = {0};
    q8_err err = {0};
    const int t = add(graph, &fake_source, "data", -1, "data", NULL);
    add(graph, &fake_layer, "layer", t, "top", &a);
    a->n_weights = 3;
    assert_int_equal(q8_ncnn_bin(graph, false, &bytes, &err), Q8_EINTERNAL);
    assert_string_equal(err.text, "weight has 0 values, its parameters say 3");
    static const q8_quant quant;
    a->n_weights = 0;
    graph->node[1]->quant = &quant; /* yet the layer has no int8_scale_term */
    err = (q8_err){0};
    assert_int_equal(q8_ncnn_bin(graph, false, &bytes, &err), Q8_EINTERNAL);
    q8_buf_free(&bytes);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(exact_text),
        TEST(odd_names),
        TEST(long_names),
        TEST(many_equal_names_are_quick),
        TEST(broken_edges_are_found),
        TEST(numbers_that_ncnn_cannot_hold),
        TEST(exact_bytes),
        TEST(weights_must_fit_their_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
