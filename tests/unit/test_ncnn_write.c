/* Writing pairs of files and reading them back, in all three precisions, and when it goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ncnn/check.h"
#include "ncnn/half.h"
#include "ops/conv.h"
#include "quant/quant.h"
#include "test_ncnn_net.h"

struct fixture {
    q8_arena *arena;
    q8_graph *graph; /* of net_param */
    q8_buf bin;
    char folder[64], param_path[128], bin_path[128];
};

static int enter(void **state)
{
    static struct fixture f;
    q8_err err;
    f.arena = q8_arena_open();
    f.bin = net_bin();
    strcpy(f.folder, "/tmp/q8-test-write-XXXXXX");
    if (!mkdtemp(f.folder) || net_read(&f.graph, net_param, &f.bin, f.arena, &err))
        return -1;
    snprintf(f.param_path, sizeof(f.param_path), "%s/net.param", f.folder);
    snprintf(f.bin_path, sizeof(f.bin_path), "%s/net.bin", f.folder);
    *state = &f;
    return 0;
}

static int leave(void **state)
{
    struct fixture *f = *state;
    char command[128];
    q8_arena_close(&f->arena);
    q8_buf_free(&f->bin);
    snprintf(command, sizeof(command), "rm -rf '%s'", f->folder);
    return system(command);
}

static int entries(const struct fixture *f)
{
    DIR *d = opendir(f->folder);
    int n = -2; /* . and .. */
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static q8_write_result write_ok(struct fixture *f, q8_precision precision)
{
    q8_write_result result;
    q8_err err = {0};
    if (q8_ncnn_write(f->graph, precision, &(q8_output){.param = f->param_path, .bin = f->bin_path},
                      NULL, 0, &result, &err))
        fail_msg("layer '%s': %s", err.layer, err.text);
    assert_int_equal(entries(f), 2);
    return result;
}

static q8_bytes load(const char *path)
{
    q8_bytes bytes;
    q8_err err = {0};
    assert_int_equal(q8_file_read(&bytes, path, 1 << 20, &err), Q8_OK);
    return bytes;
}

/* The files as a graph in the fixture's arena. */
static q8_graph *load_graph(struct fixture *f)
{
    q8_bytes param = load(f->param_path), bin = load(f->bin_path);
    q8_graph *graph;
    q8_err err = {0};
    assert_int_equal(q8_ncnn_read(&graph, "p", (char *)param.data, param.size, "b", bin.data,
                                  bin.size, f->arena, &err),
                     Q8_OK);
    q8_bytes_free(&param);
    q8_bytes_free(&bin);
    return graph;
}

static void assert_files(const struct fixture *f, const char *param, const void *bin, size_t size)
{
    q8_bytes p = load(f->param_path), b = load(f->bin_path);
    assert_string_equal((char *)p.data, param);
    assert_int_equal(b.size, size);
    assert_memory_equal(b.data, bin, size);
    q8_bytes_free(&p);
    q8_bytes_free(&b);
}

static void quantise(struct fixture *f)
{
    float threshold[64];
    q8_err err = {0};
    assert_true(f->graph->n_tensors <= 64);
    for (int t = 0; t < f->graph->n_tensors; t++)
        threshold[t] = (float)(t + 1);
    const q8_quant_opts opts = {0};
    assert_int_equal(q8_quantize_graph(f->graph, threshold, &opts, NULL, &err), Q8_OK);
    assert_non_null(f->graph->node[NET_CONV1]->quant);
    assert_non_null(f->graph->node[NET_DW]->quant);
    assert_non_null(f->graph->node[NET_FC]->quant);
}

static void fp32_gives_back_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    const q8_write_result size = write_ok(f, Q8_FP32);
    assert_files(f, net_param, f->bin.data, f->bin.size);
    assert_int_equal(size.param_bytes, strlen(net_param));
    assert_int_equal(size.bin_bytes, f->bin.size);
}

static void fp16_rounds_once(void **state)
{
    struct fixture *f = *state;
    const q8_write_result size = write_ok(f, Q8_FP16);
    assert_int_equal(size.bin_bytes, 3 * 4 + 2 * (216 + 144 + 2560) + 4 * (8 + 16 + 16 + 10));
    q8_bytes first = load(f->bin_path);
    const float exact = f->graph->node[NET_FC]->weight[0].data[77];
    f->graph = load_graph(f);
    const float rounded = f->graph->node[NET_FC]->weight[0].data[77];
    assert_true(rounded == q8_half_to_float(q8_half_from_float(exact)));
    write_ok(f, Q8_FP16); /* halfs of halfs */
    assert_files(f, net_param, first.data, first.size);
    q8_bytes_free(&first);
}

static void fp16_keeps_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    float *weight = q8_arena_array(f->arena, 144, sizeof(*weight));
    weight[143] = 1e6f;
    f->graph->node[NET_DW]->weight[0].data = weight;
    const q8_write_result size = write_ok(f, Q8_FP16);
    assert_int_equal(size.bin_bytes, 3 * 4 + 2 * (216 + 2560) + 4 * (144 + 8 + 16 + 16 + 10));
    const q8_graph *back = load_graph(f);
    assert_memory_equal(back->node[NET_DW]->weight[0].data, weight, 144 * 4);
}

static void int8_round_trip(void **state)
{
    struct fixture *f = *state;
    quantise(f);
    const q8_write_result size = write_ok(f, Q8_INT8);
    assert_int_equal(size.bin_bytes, 3 * 4 + 216 + 144 + 2560 + 4 * (8 + 16 + 16 + 10) +
                                         4 * (8 + 1 + 16 + 1 + 10 + 1));
    q8_bytes param = load(f->param_path), bin = load(f->bin_path);
    assert_non_null(strstr((char *)param.data, "6=216 9=1 8=2\n"));
    assert_non_null(strstr((char *)param.data, "-23310=1,0.1 8=1\n"));
    assert_non_null(strstr((char *)param.data, "2=2560 8=2\n"));
    const q8_quant *q = f->graph->node[NET_CONV1]->quant;
    assert_memory_equal(bin.data + 4, q->weight, 216);
    assert_memory_equal(bin.data + 4 + 216 + 4 * 8, q->weight_scales, 4 * 8);
    assert_memory_equal(bin.data + 4 + 216 + 4 * 16, &q->bottom_scale, 4);
    f->graph = load_graph(f);
    write_ok(f, Q8_INT8); /* from what was read */
    assert_files(f, (char *)param.data, bin.data, bin.size);
    q8_bytes_free(&param);
    q8_bytes_free(&bin);
}

static void int8_with_an_output_scale(void **state)
{
    struct fixture *f = *state;
    quantise(f);
    q8_node *conv = f->graph->node[NET_CONV1];
    q8_quant *quant = q8_arena_alloc(f->arena, sizeof(*quant));
    *quant = *conv->quant;
    quant->top_scale = 12.5f;
    conv->quant = quant;
    conv->op->set_int8(conv);
    write_ok(f, Q8_INT8);
    const q8_graph *back = load_graph(f);
    assert_int_equal(((q8_conv_attr *)back->node[NET_CONV1]->attr)->int8_scale_term, 102);
    assert_true(back->node[NET_CONV1]->quant->top_scale == 12.5f);
}

static void float_precisions_ignore_int8(void **state)
{
    struct fixture *f = *state;
    quantise(f);
    const q8_node *conv = f->graph->node[NET_CONV1];
    write_ok(f, Q8_FP32);
    assert_files(f, net_param, f->bin.data, f->bin.size);
    assert_non_null(conv->quant); /* the node itself is as it was */
    assert_int_equal(((q8_conv_attr *)conv->attr)->int8_scale_term, 2);
}

static void splits_are_made(void **state)
{
    struct fixture *f = *state;
    q8_graph *graph = f->graph;
    graph->node[3]->in[0] = graph->node[4]->in[0] = graph->node[2]->in[0];
    graph->node[2]->op = NULL;
    q8_graph_sweep(graph);
    assert_int_equal(graph->n_nodes, 10);
    write_ok(f, Q8_FP32);
    const q8_graph *back = load_graph(f);
    assert_int_equal(back->n_nodes, 11);
    assert_string_equal(back->node[2]->op->type, "Split");
}

/* --- when it goes wrong ----------------------------------------------------------------------- */

static void failures_leave_old_files_alone(void **state)
{
    struct fixture *f = *state;
    static const float bad[] = {NAN};
    q8_err err = {0};
    write_ok(f, Q8_FP32);
    ((q8_conv_attr *)f->graph->node[NET_DW]->attr)->activation.params = (q8_floats){1, bad};
    assert_int_equal(q8_ncnn_write(f->graph, Q8_FP16,
                                   &(q8_output){.param = f->param_path, .bin = f->bin_path}, NULL,
                                   0, NULL, &err),
                     Q8_EMODEL);
    assert_string_equal(err.layer, "dw");
    assert_files(f, net_param, f->bin.data, f->bin.size);
    assert_int_equal(entries(f), 2);
    /* The bin cannot be replaced: then the param is not either. */
    err = (q8_err){0};
    ((q8_conv_attr *)f->graph->node[NET_DW]->attr)->activation.params = (q8_floats){0};
    assert_int_equal(chmod(f->bin_path, 0444), 0);
    assert_int_equal(q8_ncnn_write(f->graph, Q8_FP16,
                                   &(q8_output){.param = f->param_path, .bin = f->bin_path}, NULL,
                                   0, NULL, &err),
                     Q8_EIO);
    assert_string_equal(err.text, "is read-only");
    assert_files(f, net_param, f->bin.data, f->bin.size);
    assert_int_equal(entries(f), 2);
}

/* A network that ncnn's shape rules refuse is found by reading it back. */
static void what_cannot_be_read_back_is_not_written(void **state)
{
    struct fixture *f = *state;
    q8_err err = {0};
    ((q8_conv_attr *)f->graph->node[NET_DW]->attr)->stride_w = 0;
    assert_int_equal(q8_ncnn_write(f->graph, Q8_FP32,
                                   &(q8_output){.param = f->param_path, .bin = f->bin_path}, NULL,
                                   0, NULL, &err),
                     Q8_EMODEL);
    assert_int_equal(entries(f), 0);
}

static q8_code check(struct fixture *f, const q8_graph *back, bool fp16, const char *says)
{
    q8_err err = {0};
    const q8_code code = q8_ncnn_check(f->graph, back, fp16, &err);
    if (says && !strstr(err.text, says))
        fail_msg("'%s' does not say '%s'", err.text, says);
    return code;
}

/* The check must see each kind of difference, or it is worth nothing. */
static void the_check_sees_differences(void **state)
{
    struct fixture *f = *state;
    q8_graph *back;
    q8_err err;
    quantise(f);
    write_ok(f, Q8_INT8);
    q8_bytes param = load(f->param_path), bin = load(f->bin_path);
    const struct {
        const char *from, *to, *says;
    } texts[] = {
        {" prob ", " prop ", "with other names"},
        {"fc prob 1=1", "fc prop 1=1", "with other blobs"},
        {"0=-1.5", "0=-1.6", "with other parameters"},
        {"-23310=1,0.1", "-23310=1,0.2", "with other parameters"},
        {"9=1 8=2", "9=4 8=2", "with other parameters"},
        {"Softmax", "Sigmoid", NULL},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        char *copy = strdup((char *)param.data), *at = strstr(copy, texts[i].from);
        assert_non_null(at);
        memcpy(at, texts[i].to, strlen(texts[i].to));
        err = (q8_err){0};
        const q8_code code =
            q8_ncnn_read(&back, "p", copy, param.size, "b", bin.data, bin.size, f->arena, &err);
        if (texts[i].says)
            assert_int_equal(check(f, back, false, texts[i].says), Q8_EINTERNAL);
        else
            assert_int_not_equal(code, Q8_OK); /* Sigmoid has no such parameter */
        free(copy);
    }
    for (size_t i = 4; i < bin.size; i++) {
        if ((i - 4) % 61)
            continue;
        bin.data[i] ^= 1;
        err = (q8_err){0};
        if (!q8_ncnn_read(&back, "p", (char *)param.data, param.size, "b", bin.data, bin.size,
                          f->arena, &err))
            assert_int_equal(check(f, back, false, "reads back with other"), Q8_EINTERNAL);
        bin.data[i] ^= 1;
    }
    q8_bytes_free(&param);
    q8_bytes_free(&bin);
    back = load_graph(f);
    assert_int_equal(check(f, back, false, NULL), Q8_OK);
    back->n_nodes--;
    assert_int_equal(check(f, back, false, "10 layers, not 11"), Q8_EINTERNAL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)
    const struct CMUnitTest tests[] = {
        TEST(fp32_gives_back_the_same_bytes),
        TEST(fp16_rounds_once),
        TEST(fp16_keeps_what_does_not_fit),
        TEST(int8_round_trip),
        TEST(int8_with_an_output_scale),
        TEST(float_precisions_ignore_int8),
        TEST(splits_are_made),
        TEST(failures_leave_old_files_alone),
        TEST(what_cannot_be_read_back_is_not_written),
        TEST(the_check_sees_differences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
