/* Calibration tables: what is read, what is refused and where, and that written ones read back. */
#include "ncnn/table.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ncnn/read.h"

/* Two layers in int8, one of them with a name of digits, and one that cannot be. */
static const char param[] = "7767517\n"
                            "4 4\n"
                            "Input data 0 1 data 0=4 1=4 2=2\n"
                            "Convolution 7 1 1 data a 0=2 1=1 5=0 6=4\n"
                            "ReLU relu 1 1 a b\n"
                            "ConvolutionDepthWise dw 1 1 b c 0=2 1=1 5=0 6=2 7=2\n";
static const float weight[] = {1, -0.5f, 0, 0, 0.25f, 2};

struct fixture {
    q8_arena *arena;
    q8_graph *graph;
    q8_given given[4];
    q8_err err;
    char said[4096]; /* notes and warnings */
};

static void hear(void *user, const q8_err *what)
{
    struct fixture *f = user;
    const size_t used = strlen(f->said);
    q8_err_format(what, "said", f->said + used, sizeof(f->said) - used);
}

static int setup(void **state)
{
    static struct fixture f;
    memset(&f, 0, sizeof(f));
    f.arena = q8_arena_open();
    f.graph = q8_graph_new(f.arena);
    if (q8_ncnn_read_param(f.graph, "net.param", param, sizeof(param) - 1, &f.err))
        return -1;
    f.graph->node[1]->weight[0] = (q8_weight){weight, 4};
    f.graph->node[3]->weight[0] = (q8_weight){weight + 4, 2};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    q8_arena_close(&f->arena);
    return 0;
}

static q8_code take(struct fixture *f, const char *text)
{
    const q8_env env = {.user = f, .warn = hear, .note = hear};
    q8_table *table;
    f->said[0] = '\0';
    f->err = (q8_err){0};
    q8_code code = q8_table_read(&table, "t.table", text, strlen(text), f->arena, &f->err);
    return code ? code : q8_table_scales(f->given, table, f->graph, &env, &f->err);
}

static void test_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, "7_param_0 127.5 3e2 \r\n\n# a comment\ndw_param_0 1 2.5\n7 12.25\n"
                             "  dw\t+0.5  "),
                     Q8_OK);
    assert_string_equal(f->said, "");
    assert_true(f->given[1].weight_scales[0] == 127.5f && f->given[1].weight_scales[1] == 300);
    assert_true(f->given[1].bottom_scale == 12.25f && !f->given[1].float_reason);
    assert_true(f->given[3].weight_scales[1] == 2.5f && f->given[3].bottom_scale == 0.5f);
    assert_int_equal(q8_quantize_given(f->graph, f->given, NULL, &f->err), Q8_OK);
    const q8_quant *quant = f->graph->node[1]->quant;
    assert_non_null(quant);
    assert_int_equal(quant->weight[0], 127); /* 1 * 127.5 */
    assert_int_equal(quant->weight[1], -64);
    assert_true(quant->bottom_scale == 12.25f);
    assert_int_equal(f->graph->node[3]->quant->weight[1], 5);
}

/* The second output of layer 7 has only weights of 0: ncnn2table writes infinity for it. */
static void test_scale_of_zeros(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, "7_param_0 127 inf\n7 3\ndw_param_0 1 2\ndw 1\n"), Q8_OK);
    assert_null(f->given[1].float_reason);
    assert_true(f->given[1].weight_scales[1] == 1);
}

static void test_layers_left_in_float(void **state)
{
    static const struct {
        const char *text, *reason[2], *said;
    } c[] = {
        {"7_param_0 1 1\n7 1\n",
         {NULL, "the table does not name it"},
         "t.table: said: layer 'dw': not in the table"},
        {"7_param_0 1 1\ndw 1\n",
         {"the table has no scale for its input", "the table has no scales for its weights"},
         "and 1 more layers"},
        {"7_param_0 0 1\n7 1\ndw_param_0 1 1\ndw 1\n",
         {"a weight scale in the table is not above 0 and finite", NULL},
         "t.table:2:1: said: layer '7': stays float"},
        {"7_param_0 1 1\n7 nan\ndw_param_0 1 1\ndw -inf\n",
         {"its input's scale in the table is not above 0 and finite",
          "its input's scale in the table is not above 0 and finite"},
         "t.table:4:1: said: layer 'dw': stays float"},
        {"7_param_0 1 1\n7 -2\ndw_param_0 1 1\ndw 1e99\nother 1\n",
         {"its input's scale in the table is not above 0 and finite",
          "its input's scale in the table is not above 0 and finite"},
         "t.table: said: 1 of 5 lines are not used"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        assert_int_equal(take(f, c[i].text), Q8_OK);
        for (int k = 0; k < 2; k++) {
            const char *reason = f->given[1 + 2 * k].float_reason;
            if (c[i].reason[k])
                assert_string_equal(reason, c[i].reason[k]);
            else
                assert_null(reason);
        }
        if (!strstr(f->said, c[i].said))
            fail_msg("case %zu: '%s' is not in '%s'", i, c[i].said, f->said);
    }
}

/* ncnn could not compute with them. */
static void test_extreme_scales(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(take(f, "7_param_0 1e30 1\n7 1e30\ndw_param_0 1e-30 1\ndw 1e-30\n"), Q8_OK);
    assert_int_equal(q8_quantize_given(f->graph, f->given, NULL, &f->err), Q8_OK);
    assert_null(f->graph->node[1]->quant);
    assert_string_equal(f->graph->node[1]->float_reason, "its scales are too large or too small");
    assert_null(f->graph->node[3]->quant);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *message;
    } c[] = {
        {"7_param_0 1\n7 1\n",
         "t.table:1:1: error: layer '7': 1 weight scales where the layer has 2"},
        {"\n7_param_0 1 2 3\n7 1\n",
         "t.table:2:1: error: layer '7': 3 weight scales where the layer has 2"},
        {"7_param_0 1 1\n7 1 2\n",
         "t.table:2:1: error: layer '7': 2 scales for the layer's input, which has one"},
        {"7_param_0 1 1\n7 1\n 7 2\n", "t.table:3:2: error: '7' a second time"},
        {"7_param_0 1 1,5\n", "t.table:1:13: error: '1,5' is not a number"},
        {"7_param_0 1 1.2.3\n", "t.table:1:13: error: '1.2.3' is not a number"},
        {"7 .\n", "t.table:1:3: error: '.' is not a number"},
        {"7 -\n", "t.table:1:3: error: '-' is not a number"},
        {"7 0x10\n", "t.table:1:3: error: '0x10' is not a number"},
        {"7 1e\n", "t.table:1:3: error: '1e' is not a number"},
        {"7 1e-\n", "t.table:1:3: error: '1e-' is not a number"},
        {"dw_param_0\n", "t.table:1:11: error: 'dw_param_0' without a scale"},
        {"a\x01 1\n", "t.table:1:1: error: a control character in a name"},
        {"conv_param_0 1 2\nconv 1\n", "t.table: error: the table names no layer of this network"},
        {"", "t.table: error: the table names no layer of this network"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        char text[512];
        assert_int_not_equal(take(f, c[i].text), Q8_OK);
        q8_err_format(&f->err, "error", text, sizeof(text));
        text[strcspn(text, "\n")] = '\0';
        assert_string_equal(text, c[i].message);
    }
}

static void test_numbers(void **state)
{
    static const struct {
        const char *text;
        float value;
    } c[] = {
        {"123456789.123456", 123456789.123456f},
        {"0.000000000000001", 1e-15f},
        {"12345678901234567890123", 12345678901234567890123.0f},
        {"1e-38", 1e-38f},
        {"0.1", 0.1f},
        {"5.", 5},
        {".5", 0.5f},
        {"1E+2", 100},
        {"3.4028235e38", 3.4028235e38f},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "7_param_0 1 1\n7 %s\ndw_param_0 1 1\ndw 1", c[i].text);
        assert_int_equal(take(f, text), Q8_OK);
        if (f->given[1].bottom_scale != c[i].value)
            fail_msg("%s: %.9g", c[i].text, (double)f->given[1].bottom_scale);
    }
}

static void test_write(void **state)
{
    struct fixture *f = *state;
    q8_buf text = {0};
    assert_int_equal(take(f, "7_param_0 0.1 3e-20\n7 123.456789\ndw_param_0 16777217 1\ndw 3\n"),
                     Q8_OK);
    assert_int_equal(q8_quantize_given(f->graph, f->given, NULL, &f->err), Q8_OK);
    const float want[] = {0.1f, 3e-20f, 123.456789f, 16777217.0f};
    assert_int_equal(q8_table_write(&text, f->graph, &f->err), Q8_OK);
    assert_int_equal(take(f, (const char *)text.data), Q8_OK);
    assert_string_equal(f->said, "");
    assert_true(f->given[1].weight_scales[0] == want[0]);
    assert_true(f->given[1].weight_scales[1] == want[1]);
    assert_true(f->given[1].bottom_scale == want[2]);
    assert_true(f->given[3].weight_scales[0] == want[3]);
    /* All weight scales come first. */
    assert_int_equal(strncmp((const char *)text.data, "7_param_0 0.1 3e-20\ndw_param_0 ", 31), 0);
    q8_buf_free(&text);
}

static void test_no_table_of_a_rewritten_network(void **state)
{
    struct fixture *f = *state;
    q8_buf text = {0};
    assert_int_equal(take(f, "7_param_0 1 1\n7 1\ndw_param_0 1 1\ndw 1\n"), Q8_OK);
    assert_int_equal(q8_quantize_given(f->graph, f->given, NULL, &f->err), Q8_OK);
    f->graph->tensor[f->graph->node[3]->in[0]].shift = 1;
    assert_int_equal(q8_table_write(&text, f->graph, &f->err), Q8_EINVAL);
    assert_string_equal(f->err.layer, "dw");
    q8_buf_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scale_of_zeros, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layers_left_in_float, setup, teardown),
        cmocka_unit_test_setup_teardown(test_extreme_scales, setup, teardown),
        cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_table_of_a_rewritten_network, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
