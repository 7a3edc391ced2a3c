/* The text-format reader, through whole networks: values, places, what it refuses and how. */
#include <math.h>
#include <stdlib.h>

#include "test_caffe_util.h"

/* One layer with the given inside, whose first byte stands at line 1, column 22. */
#define LAYER(inside) "layer { type: \"Test\"  " inside " }"

static void reads_every_kind_of_value(void **state)
{
    (void)state;
    struct reading r = read_good(
        "name: \"a\" 'b'  # and\n   \"c\\x41\\101\\n\\\"\\u00e9\"\n"
        "layer < name: 'one'; type: \"Test\", bottom: [\"x\", 'y' \"z\"]\n"
        "  convolution_param: { num_output: 0x1F pad: [ 1, 017 ] pad: 0 bias_term: False\n"
        "    kernel_h: 4294967295 }\n"
        "  lrn_param { alpha: 1e-4 beta: -.5f k: 2. norm_region: WITHIN_CHANNEL local_size: 3; }\n"
        "  eltwise_param { operation: 2, coeff: [inf, -Infinity, nan, 1e60, 16777217, -0] }\n"
        "  input_param { shape [ { dim: -1 dim: 9223372036854775807 }, < dim: [] > ] }\n"
        "  exp_param { base: 2.5 }\n"
        "  loss_weight: 0.1\n"
        ">\n");
    assert_string_equal(r.warnings, "");
    assert_string_equal(r.net->name, "abcAA\n\"\xc3\xa9");
    assert_int_equal(r.net->n_layers, 1);
    const Caffe__LayerParameter *p = r.net->layer[0].param;
    assert_string_equal(r.net->layer[0].name, "one");
    assert_int_equal(p->n_bottom, 2);
    assert_string_equal(p->bottom[1], "yz");

    const Caffe__ConvolutionParameter *conv = p->convolution_param;
    assert_true(conv->has_num_output && !conv->has_kernel_w && conv->has_bias_term);
    assert_int_equal(conv->num_output, 31);
    assert_int_equal(conv->n_pad, 3);
    assert_int_equal(conv->pad[1], 15);
    assert_int_equal(conv->pad[2], 0);
    assert_false(conv->bias_term);
    assert_true(conv->kernel_h == 4294967295u);
    assert_true(!conv->has_group && conv->group == 1); /* the schema's default */

    assert_true(p->lrn_param->alpha == 1e-4f);
    assert_true(p->lrn_param->beta == -0.5f);
    assert_true(p->lrn_param->k == 2.0f);
    assert_int_equal(p->lrn_param->norm_region, CAFFE__LRNPARAMETER__NORM_REGION__WITHIN_CHANNEL);
    assert_int_equal(p->lrn_param->local_size, 3);

    const Caffe__EltwiseParameter *e = p->eltwise_param;
    assert_int_equal(e->operation, CAFFE__ELTWISE_PARAMETER__ELTWISE_OP__MAX);
    assert_int_equal(e->n_coeff, 6);
    assert_true(isinf(e->coeff[0]) && isinf(e->coeff[1]) && e->coeff[1] < 0);
    assert_true(isnan(e->coeff[2]) && isinf(e->coeff[3]));
    assert_true(e->coeff[4] == 16777216.0f && signbit(e->coeff[5]));

    assert_int_equal(p->input_param->n_shape, 2);
    assert_true(p->input_param->shape[0]->dim[0] == -1);
    assert_true(p->input_param->shape[0]->dim[1] == INT64_MAX);
    assert_int_equal(p->input_param->shape[1]->n_dim, 0);
    assert_true(p->exp_param->has_base_ && p->exp_param->base_ == 2.5f);
    assert_true(p->loss_weight[0] == 0.1f);
    end_reading(&r);
}

static void bools_in_all_spellings(void **state)
{
    (void)state;
    struct reading r = read_good(LAYER("propagate_down: [true, True, t, 1, false, False, f, 0]"));
    const Caffe__LayerParameter *p = r.net->layer[0].param;
    assert_int_equal(p->n_propagate_down, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(p->propagate_down[i], i < 4);
    end_reading(&r);
}

static void strings_without_quotes(void **state)
{
    (void)state;
    struct reading r = read_good(LAYER("top: [a, 1] name: conv1"));
    const Caffe__LayerParameter *p = r.net->layer[0].param;
    assert_string_equal(p->top[0], "a");
    assert_string_equal(p->top[1], "1");
    assert_string_equal(p->name, "conv1");
    assert_string_equal(r.warnings,
                        "net.prototxt:1:29: warning: 'top' takes a string in quotes, not 'a'\n"
                        "net.prototxt:1:32: warning: 'top' takes a string in quotes, not '1'\n"
                        "net.prototxt:1:41: warning: 'name' takes a string in quotes, not "
                        "'conv1'\n");
    end_reading(&r);
}

static void line_ends_and_marks(void **state)
{
    (void)state;
    struct reading r =
        read_good("\xef\xbb\xbfname: \"n\"\r\nlayer {\r\n\ttype: \"Test\"\r\n}\r\n# end");
    assert_string_equal(r.net->name, "n");
    assert_place(&r, r.net->layer[0].param, "", 0, 2, 1);
    assert_place(&r, r.net->layer[0].param, "type", 0, 3, 2);
    end_reading(&r);
    assert_error("\xef\xbb\xbfnaem",
                 "net.prototxt:1:5: error: expected ':' or '{', not the end of the file");
}

static void keeps_the_place_of_every_field(void **state)
{
    (void)state;
    struct reading r = read_good("layer {\n"
                                 "  type: \"Test\"\n"
                                 "  bottom: \"a\" bottom: \"b\"\n"
                                 "  top: [ \"c\",\n"
                                 "    \"d\" ]\n"
                                 "  param { lr_mult: 1 }\n"
                                 "  param { decay_mult: 0 }\n"
                                 "  exp_param { base: 2 }\n"
                                 "}\n");
    const Caffe__LayerParameter *p = r.net->layer[0].param;
    assert_int_equal(r.net->layer[0].loc.line, 1);
    assert_int_equal(r.net->layer[0].loc.column, 1);
    assert_place(&r, p, "bottom", 0, 3, 3);
    assert_place(&r, p, "bottom", 1, 3, 15);
    assert_place(&r, p, "top", 0, 4, 10);
    assert_place(&r, p, "top", 1, 5, 5);
    assert_place(&r, p, "param", 1, 7, 3);
    assert_place(&r, p->param[1], "decay_mult", 0, 7, 11);
    assert_place(&r, p->exp_param, "base", 0, 8, 15);
    /* Not written: the first of the field, the message, the file. */
    assert_place(&r, p, "bottom", 2, 3, 3);
    assert_place(&r, p->param[1], "lr_mult", 0, 7, 3);
    assert_place(&r, p, "no_such_field", 0, 1, 1);
    assert_place(&r, NULL, "bottom", 0, 0, 0);
    end_reading(&r);
}

static void unknown_fields_are_skipped_with_one_warning(void **state)
{
    (void)state;
    struct reading r =
        read_good("layer {\n"
                  "  mystery: 1 type: \"Test\"\n"
                  "  mystery: -inf\n"
                  "  deep { a: \"x\" 'y' b < c: [ { d: [1, 2] }, {} ] > [e.f/g]: h } name: \"n\"\n"
                  "  listed [ { a: 1 } ]\n"
                  "  [some.extension]: { a: 1 }\n"
                  "  relu_param { mystery: true negative_slope: 0.5 engine: NEON }\n"
                  "  engine: \"MKLDNN\"\n"
                  "}\n"
                  "layer { type: \"Test\" mystery: 3 top: \"t\" }\n");
    assert_string_equal(
        r.warnings,
        "net.prototxt:2:3: warning: unknown field 'mystery' in layer is ignored\n"
        "net.prototxt:4:3: warning: unknown field 'deep' in layer is ignored\n"
        "net.prototxt:5:3: warning: unknown field 'listed' in layer is ignored\n"
        "net.prototxt:6:3: warning: unknown field '[some.extension]' in layer is ignored\n"
        "net.prototxt:7:16: warning: unknown field 'mystery' in relu_param is ignored\n");
    assert_int_equal(r.net->n_layers, 2);
    assert_string_equal(r.net->layer[0].name, "n");
    assert_true(r.net->layer[0].param->relu_param->negative_slope == 0.5f);
    assert_string_equal(r.net->layer[1].param->top[0], "t");
    end_reading(&r);
}

static void repeats_of_what_occurs_once(void **state)
{
    (void)state;
    struct reading r = read_good("layer { type: \"A\"\n type: \"B\"\n"
                                 " lrn_param { alpha: 2 }\n lrn_param { beta: 3 } }");
    assert_string_equal(r.warnings,
                        "net.prototxt:2:2: warning: 'type' is given twice: the last one counts\n");
    assert_string_equal(r.net->layer[0].type, "B");
    assert_place(&r, r.net->layer[0].param, "type", 0, 2, 2);
    assert_true(r.net->layer[0].param->lrn_param->alpha == 2);
    assert_true(r.net->layer[0].param->lrn_param->beta == 3);
    end_reading(&r);
}

#define AT(column, text) "net.prototxt:1:" #column ": error: in layer 1 of the file: " text

static void refuses_what_is_wrong_at_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {LAYER("input_param 5"), AT(35, "expected '{', not '5'")},
        {LAYER("top \"x\""), AT(27, "expected ':', not \"x\"")},
        {LAYER("top: ]"), AT(28, "'top' takes a string in quotes, not ']'")},
        {LAYER("top: a/b"), AT(29, "expected a field's name, not '/'")},
        {LAYER("top: \"\\q\""), AT(28, "a bad \\ escape in a string")},
        {LAYER("top: \"\\0\""), AT(28, "a zero byte in 'top'")},
        {LAYER("top: \"x"), AT(28, "string without a closing \"")},
        {LAYER("concat_param { axis: 1.5 }"), AT(44, "'axis' takes a whole number, not '1.5'")},
        {LAYER("concat_param { axis: 2147483648 }"),
         AT(44, "'axis' takes a whole number from -2147483648 to 2147483647, not '2147483648'")},
        {LAYER("concat_param { axis: -2147483649 }"),
         AT(44, "'axis' takes a whole number from -2147483648 to 2147483647, not '-2147483649'")},
        {LAYER("convolution_param { pad: -1 }"),
         AT(48, "'pad' takes a whole number of at least 0, not '-1'")},
        {LAYER("convolution_param { pad: 08 }"),
         AT(48, "'pad' takes a whole number from 0 to 4294967295, not '08'")},
        {LAYER("convolution_param { pad: 99999999999999999999 }"),
         AT(48, "'pad' takes a whole number from 0 to 4294967295, not '99999999999999999999'")},
        {LAYER("convolution_param { pad: [1 2] }"), AT(51, "expected ',' or ']', not '2'")},
        {LAYER("convolution_param { num_output: [1] }"),
         AT(55, "'num_output' takes one value, not a list")},
        {LAYER("convolution_param { bias_term: 2 }"),
         AT(54, "'bias_term' takes true or false, not '2'")},
        {LAYER("pooling_param { pool: \"MAX\" }"),
         AT(45, "'pool' takes one of MAX, AVE, STOCHASTIC, not \"MAX\"")},
        {LAYER("pooling_param { pool: 7 }"),
         AT(45, "'pool' takes one of MAX, AVE, STOCHASTIC, not '7'")},
        {LAYER("lrn_param { k: 0x10 }"), AT(38, "'k' takes a decimal number, not '0x10'")},
        {LAYER("lrn_param { k: 1e }"), AT(38, "number with an exponent that has no digits")},
        {LAYER("lrn_param { k: 0x }"), AT(38, "'0x' without hex digits")},
        {LAYER("clip_param { min: 0 }"), AT(23, "'max' missing in clip_param")},
        {LAYER("lrn_param { k: 1 >"), AT(40, "expected a field's name, not '>'")},
        {LAYER("odd { k: 1 >"), AT(34, "expected a field's name, not '>'")},
        {LAYER("odd 1"), AT(27, "expected ':' or '{', not '1'")},
        {LAYER("odd: [1, ]"), AT(32, "expected a value, not ']'")},
        {LAYER("propagate_down: [1, ]"), AT(43, "'propagate_down' takes true or false, not ']'")},
        {LAYER("odd: }"), AT(28, "expected a value, not '}'")},
        {LAYER("\x80"), AT(23, "byte 0x80 outside a string or comment")},
        {LAYER("") " }", "net.prototxt:1:26: error: expected a field's name, not '}'"},
        {LAYER("name: \"x\" top: 1.5.5"),
         "net.prototxt:1:41: error: layer 'x': expected a field's name, not '.5'"},
        {"layer { type: \"Test\" ", AT(7, "'layer' is never closed: '}' missing")},
        {"name: \"only\"", "net.prototxt: error: no layers in it: is this a deploy prototxt?"},
        {"", "net.prototxt: error: an empty file, not a prototxt"},
        {"<!DOCTYPE html>",
         "net.prototxt: error: an HTML page (a download that failed?), not a prototxt"},
        {"layer { name: \"x\" }", "net.prototxt:1:1: error: layer 'x': type missing"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_error(cases[i].text, cases[i].message);
}

static void refuses_binary(void **state)
{
    (void)state;
    static const char text[] = "name: \"x\"\nlayer\0";
    struct reading r = read_bytes(text, sizeof(text) - 1);
    assert_string_equal(r.message, "net.prototxt:2: error: a zero byte: not a text file (is this "
                                   "the caffemodel?)");
    end_reading(&r);
}

/* `prefix`, then `n` times `middle`. */
static char *repeat(const char *prefix, const char *middle, size_t n)
{
    const size_t size = strlen(middle), start = strlen(prefix);
    char *text = malloc(start + n * size + 1);
    assert_non_null(text);
    memcpy(text, prefix, start);
    for (size_t i = 0; i < n; i++)
        memcpy(text + start + i * size, middle, size);
    text[start + n * size] = 0;
    return text;
}

static void depth_and_count_are_limited(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *middle;
    } nested[] = {{"layer{", "x{"}, {"layer{", "x<"}, {"layer{x:", "["}, {"layer{", "x:[{"}};
    for (size_t i = 0; i < sizeof(nested) / sizeof(nested[0]); i++) {
        char *text = repeat(nested[i].prefix, nested[i].middle, 100000);
        struct reading r = read_text(text);
        assert_int_equal(r.code, Q8_EFORMAT);
        assert_non_null(strstr(r.message, "nested more than 100 deep"));
        end_reading(&r);
        free(text);
    }
    char *text = repeat("layer{", "param{} ", 270000);
    assert_error(text, "net.prototxt:1:2097151: error: in layer 1 of the file: more than 262144 "
                       "messages in the file (Q8_MAX_MESSAGES in src/base/limits.h)");
    free(text);
    /* Pieces of one string are joined once, not one by one. */
    text = repeat("name:", "'a'", 300000);
    struct reading r = read_text(text);
    assert_int_equal(r.code, Q8_EMODEL);
    end_reading(&r);
    free(text);
}

static const char sample[] =
    "name: \"s\" input: \"data\" input_dim: [1, 3, 8, 8]\n"
    "layer { name: 'c' type: \"Convolution\" bottom: \"data\" top: \"c\" include { phase: TEST }\n"
    "  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: \"xavier\" } }\n"
    "  odd { a: [1, 2] b: \"\\n\\x41\" } } # end\n"
    "layer < name: \"r\" type: \"ReLU\" bottom: \"c\" top: \"c\" relu_param: { negative_slope: .1f "
    "} >\n";

static void survives_every_truncation(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof(sample); size++) {
        struct reading r = read_bytes(sample, size);
        end_reading(&r);
    }
}

static void survives_damage(void **state)
{
    (void)state;
    static const char bytes[] = "{}<>[]:;,\"'\\#-0x.e1\n_a";
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[sizeof(sample)];
        memcpy(text, sample, sizeof(sample));
        for (int k = 0; k < 3; k++) {
            seed = seed * 1103515245u + 12345u;
            const size_t at = (seed >> 8) % (sizeof(sample) - 1);
            seed = seed * 1103515245u + 12345u;
            text[at] = round % 2 ? bytes[(seed >> 8) % (sizeof(bytes) - 1)] : (char)(seed >> 16);
        }
        struct reading r = read_bytes(text, sizeof(sample) - 1);
        end_reading(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind_of_value),
        cmocka_unit_test(bools_in_all_spellings),
        cmocka_unit_test(strings_without_quotes),
        cmocka_unit_test(line_ends_and_marks),
        cmocka_unit_test(keeps_the_place_of_every_field),
        cmocka_unit_test(unknown_fields_are_skipped_with_one_warning),
        cmocka_unit_test(repeats_of_what_occurs_once),
        cmocka_unit_test(refuses_what_is_wrong_at_its_place),
        cmocka_unit_test(refuses_binary),
        cmocka_unit_test(depth_and_count_are_limited),
        cmocka_unit_test(survives_every_truncation),
        cmocka_unit_test(survives_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
