/* The passes on small networks: what is folded, what stays, what things are called. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../tools/random_weights.h"
#include "import/import.h"
#include "passes/passes.h"

#define INPUT                                                                                      \
    "layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 4 dim: 6 "     \
    "dim: 6 } } }"
#define CONV(bottom, top, more)                                                                    \
    "layer { name: '" top "' type: 'Convolution' bottom: '" bottom "' top: '" top                  \
    "' convolution_param { num_output: 4 kernel_size: 3 " more " } }"
#define LAYER(type, name, bottom, top)                                                             \
    "layer { name: '" name "' type: '" type "' bottom: '" bottom "' top: '" top "' }"

struct net {
    q8_arena *arena;
    q8_graph *graph;
};

static struct net import_text(const char *text)
{
    q8_err err = {0};
    struct net net = {.arena = q8_arena_open()};
    q8_caffe_net *caffe;
    assert_int_equal(
        q8_caffe_parse(&caffe, "net.prototxt", text, strlen(text), net.arena, NULL, &err), Q8_OK);
    const q8_weight_source source = random_weights_source(random_weights_open(caffe, net.arena));
    const q8_import_opts opts = {.weights = &source};
    if (q8_import_caffe(&net.graph, caffe, &opts, net.arena, NULL, &err) != Q8_OK)
        fail_msg("%s", err.text);
    return net;
}

static struct net optimised(const char *text)
{
    q8_err err = {0};
    struct net net = import_text(text);
    assert_int_equal(q8_passes_optimise(net.graph, &err), Q8_OK);
    return net;
}

/* "Input:data Convolution:conv …": every node's type and the names of its outputs. */
static const char *summary(const q8_graph *graph)
{
    static char text[2048];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? " " : "",
                                 node->op->type);
        for (int k = 0; k < node->n_out; k++)
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%c%s", k ? ',' : ':',
                                     graph->tensor[node->out[k]].name);
    }
    return text;
}

static void expect(const char *prototxt, const char *nodes)
{
    struct net net = optimised(prototxt);
    assert_string_equal(summary(net.graph), nodes);
    q8_arena_close(&net.arena);
}

static void folds_into_the_layer_before(void **state)
{
    (void)state;
    expect(INPUT CONV("data", "conv", "bias_term: false") LAYER("BatchNorm", "bn", "conv", "conv")
               LAYER("Scale", "scale", "conv", "conv") LAYER("ReLU", "relu", "conv", "conv"),
           "Input:data Convolution:conv");
    expect(INPUT "layer { name: 'fc' type: 'InnerProduct' bottom: 'data' top: 'fc' "
                 "inner_product_param { num_output: 3 } }" LAYER("BatchNorm", "bn", "fc", "bn"),
           "Input:data InnerProduct:bn");
}

static void folds_forward_only_where_exact(void **state)
{
    (void)state;
    expect(INPUT LAYER("BatchNorm", "bn", "data", "bn") CONV("bn", "conv", ""),
           "Input:data Convolution:conv");
    expect(INPUT LAYER("BatchNorm", "bn", "data", "bn") CONV("bn", "conv", "pad: 1"),
           "Input:data BatchNorm:bn Convolution:conv");
}

static void merges_what_cannot_be_folded(void **state)
{
    (void)state;
    expect(INPUT LAYER("BatchNorm", "bn", "data", "data") LAYER("Scale", "scale", "data", "data")
               CONV("data", "conv", "pad: 1"),
           "Input:data Scale:data_scale Convolution:conv");
}

static void does_not_fold_past_another_reader(void **state)
{
    (void)state;
    expect(INPUT CONV("data", "conv", "") LAYER("BatchNorm", "bn", "conv", "bn")
               LAYER("TanH", "tanh", "conv", "tanh"),
           "Input:data Convolution:conv BatchNorm:bn TanH:tanh");
    expect(INPUT CONV("data", "conv", "") LAYER("ReLU", "relu", "conv", "conv")
               LAYER("BatchNorm", "bn", "conv", "bn"),
           "Input:data Convolution:conv BatchNorm:bn");
}

static void drops_identities_and_keeps_output_names(void **state)
{
    (void)state;
    expect(INPUT CONV("data", "conv", "") LAYER("Dropout", "drop", "conv", "out"),
           "Input:data Convolution:out");
    expect(INPUT LAYER("Dropout", "drop", "data", "out"), "Input:data Dropout:out");
}

static void names_in_place_versions(void **state)
{
    (void)state;
    expect(INPUT CONV("data", "conv", "") LAYER("PReLU", "prelu", "conv", "conv"),
           "Input:data Convolution:conv_conv PReLU:conv");
    expect(INPUT LAYER("TanH", "tanh", "data", "data"), "Input:data TanH:data_tanh");
}

static void splits_what_is_read_twice(void **state)
{
    (void)state;
    q8_err err = {0};
    struct net net = optimised(
        INPUT "layer { name: 'sum' type: 'Eltwise' bottom: 'data' bottom: 'data' top: 'sum' }");
    assert_int_equal(q8_pass_insert_splits(net.graph, &err), Q8_OK);
    assert_string_equal(summary(net.graph),
                        "Input:data Split:data_split_0,data_split_1 Eltwise:sum");
    const q8_node *sum = net.graph->node[2], *split = net.graph->node[1];
    assert_int_equal(sum->in[0], split->out[0]);
    assert_int_equal(sum->in[1], split->out[1]);
    q8_arena_close(&net.arena);
}

static void restores_rank_after_global_pooling(void **state)
{
    (void)state;
    const char *pool = "layer { name: 'pool' type: 'Pooling' bottom: 'data' top: 'pool' "
                       "pooling_param { pool: AVE global_pooling: true } }";
    char text[2048];
    q8_err err = {0};
    snprintf(text, sizeof(text), "%s%s%s", INPUT, pool,
             "layer { name: 'c' type: 'Convolution' bottom: 'pool' top: 'c' "
             "convolution_param { num_output: 4 kernel_size: 1 } }");
    struct net net = optimised(text);
    assert_int_equal(q8_pass_restore_rank(net.graph, &err), Q8_OK);
    assert_string_equal(summary(net.graph),
                        "Input:data Pooling:pool Reshape:pool_rank3 Convolution:c");
    q8_arena_close(&net.arena);
    snprintf(text, sizeof(text), "%s%s%s", INPUT, pool, LAYER("Softmax", "prob", "pool", "prob"));
    net = optimised(text);
    assert_int_equal(q8_pass_restore_rank(net.graph, &err), Q8_OK);
    assert_string_equal(summary(net.graph), "Input:data Pooling:pool Softmax:prob");
    q8_arena_close(&net.arena);
    snprintf(text, sizeof(text), "%s%s%s", INPUT, pool,
             "layer { name: 'gate' type: 'Scale' bottom: 'data' bottom: 'pool' top: 'gate' "
             "scale_param { axis: 0 } }");
    net = optimised(text);
    assert_int_equal(q8_pass_restore_rank(net.graph, &err), Q8_OK);
    assert_string_equal(summary(net.graph), "Input:data Pooling:pool BinaryOp:gate");
    q8_arena_close(&net.arena);
}

static void a_copy_is_independent(void **state)
{
    (void)state;
    q8_err err = {0};
    struct net net =
        import_text(INPUT CONV("data", "conv", "") LAYER("ReLU", "relu", "conv", "conv"));
    q8_graph *copy = q8_graph_copy(net.graph, net.arena);
    assert_non_null(copy);
    assert_int_equal(q8_passes_optimise(copy, &err), Q8_OK);
    assert_int_equal(copy->n_nodes, 2);
    assert_int_equal(net.graph->n_nodes, 3);
    assert_string_equal(summary(net.graph), "Input:data Convolution:conv ReLU:conv");
    q8_arena_close(&net.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_into_the_layer_before),
        cmocka_unit_test(folds_forward_only_where_exact),
        cmocka_unit_test(merges_what_cannot_be_folded),
        cmocka_unit_test(does_not_fold_past_another_reader),
        cmocka_unit_test(drops_identities_and_keeps_output_names),
        cmocka_unit_test(names_in_place_versions),
        cmocka_unit_test(splits_what_is_read_twice),
        cmocka_unit_test(restores_rank_after_global_pooling),
        cmocka_unit_test(a_copy_is_independent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
