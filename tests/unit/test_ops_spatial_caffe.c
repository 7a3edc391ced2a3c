/* The forks' resizing, region, detection and recurrent layers read from a prototxt: what they
 * become, and the words of what is refused. */
#include <math.h>
#include <stdlib.h>

#include "op_keys.h"

#include "caffe/net.h"
#include "import/import.h"
#include "ops/recurrent.h"

/* Blob values that tell elements apart. */
static q8_code get_blob(void *user, const q8_caffe_layer *layer, int index, const int *dim,
                        int n_dim, const float **data, q8_err *err)
{
    size_t count = 1;
    (void)layer;
    for (int i = 0; i < n_dim; i++)
        count *= (size_t)dim[i];
    float *values = q8_arena_array(user, count, sizeof(*values));
    if (!values)
        return q8_fail_nomem(err);
    for (size_t i = 0; i < count; i++)
        values[i] = sinf((float)i + 10 * (float)index);
    *data = values;
    return Q8_OK;
}

static q8_code import(q8_arena *arena, const char *text, q8_graph **graph, q8_err *err)
{
    const q8_weight_source weights = {.user = arena, .get = get_blob};
    const q8_import_opts opts = {.weights = &weights};
    q8_caffe_net *net;
    memset(err, 0, sizeof(*err));
    q8_code code = q8_caffe_parse(&net, "net", text, strlen(text), arena, NULL, err);
    return code ? code : q8_import_caffe(graph, net, &opts, arena, NULL, err);
}

/* --- what is refused ------------------------------------------------------------------------- */

#define INPUT(name, dims)                                                                          \
    "layer { name: '" name "' type: 'Input' top: '" name "' input_param { shape { " dims " } } } "
#define INPUTS                                                                                     \
    INPUT("data", "dim: 1 dim: 18 dim: 5 dim: 6")                                                  \
    INPUT("move", "dim: 1 dim: 36 dim: 5 dim: 6")                                                  \
    INPUT("info", "dim: 1 dim: 3")                                                                 \
    INPUT("rois", "dim: 1 dim: 5")                                                                 \
    INPUT("seq", "dim: 4 dim: 1 dim: 3")                                                           \
    INPUT("cont", "dim: 4 dim: 1") INPUT("pair", "dim: 4 dim: 2 dim: 3") "\n"

static const struct {
    const char *layer; /* after name, in line 2; its parameter in line 3 */
    q8_code code;
    int line;
    const char *words;
} refused[] = {
    {"type: 'Interp' bottom: 'data' top: 'x'", Q8_EMODEL, 2, "interp_param missing"},
    {"type: 'Interp' bottom: 'data' top: 'x'\ninterp_param { height: 4 }", Q8_EMODEL, 3,
     "Interp needs height and width, or zoom_factor or shrink_factor"},
    {"type: 'Interp' bottom: 'data' top: 'x'\ninterp_param { zoom_factor: 0 }", Q8_EMODEL, 3,
     "zoom_factor must be at least 1"},
    {"type: 'Interp' bottom: 'data' top: 'x'\ninterp_param { zoom_factor: 2147483647 }", Q8_EMODEL,
     3, "zoom_factor 2147483647 makes a size of"},
    {"type: 'Interp' bottom: 'data' top: 'x'\ninterp_param { zoom_factor: 2 pad_beg: 1 }",
     Q8_EMODEL, 3, "pad_beg must be 0 or negative, as it is in Caffe: it cuts pixels off"},
    {"type: 'Interp' bottom: 'data' top: 'x'\ninterp_param { zoom_factor: 2 pad_end: -2147483648 }",
     Q8_EMODEL, 3, "nothing is left of an input of 5x6"},
    {"type: 'Interp' bottom: 'data' top: 'x'\ninterp_param { height: -4 width: 3 }", Q8_EMODEL, 3,
     "height is -4"},
    {"type: 'Interp' bottom: 'info' top: 'x'\ninterp_param { zoom_factor: 2 }", Q8_EMODEL, 2,
     "Interp needs bottoms with channels, height and width"},
    {"type: 'Upsample' bottom: 'data' bottom: 'move' top: 'x'\nupsample_param { scale: 2 }",
     Q8_EUNSUPPORTED, 2, "Upsample with the places of a max pooling (SegNet's unpooling) cannot"},
    {"type: 'Upsample' bottom: 'data' top: 'x'\nupsample_param { upsample_h: 10 upsample_w: 12 }",
     Q8_EUNSUPPORTED, 3, "upsample_h, upsample_w and pad_out belong to SegNet's unpooling"},
    {"type: 'Upsample' bottom: 'data' top: 'x'\nupsample_param { }", Q8_EMODEL, 3, "scale missing"},
    {"type: 'Upsample' bottom: 'data' top: 'x'\nupsample_param { scale: 41 }", Q8_EUNSUPPORTED, 3,
     "ncnn rounds a scale of 41 or 41 to the wrong pixels"},
    {"type: 'Reorg' bottom: 'data' top: 'x'\nreorg_param { }", Q8_EMODEL, 3, "stride missing"},
    {"type: 'Reorg' bottom: 'data' top: 'x'\nreorg_param { stride: 2 }", Q8_EMODEL, 3,
     "18 channels cannot be divided by stride 2 squared"},
    {"type: 'Reorg' bottom: 'data' top: 'x'\nreorg_param { stride: 3 }", Q8_EMODEL, 3,
     "5x6 pixels cannot be divided by stride 3"},
    {"type: 'Reorg' bottom: 'data' top: 'x'\nreorg_param { stride: 1 flatten: true }",
     Q8_EUNSUPPORTED, 3, "flatten is not supported"},
    {"type: 'ROIPooling' bottom: 'data' bottom: 'rois' top: 'x'\nroi_pooling_param { pooled_w: 3 }",
     Q8_EMODEL, 3, "pooled_h is 0; it must be at least 1"},
    {"type: 'ROIPooling' bottom: 'data' bottom: 'info' top: 'x'\n"
     "roi_pooling_param { pooled_w: 3 pooled_h: 3 }",
     Q8_EMODEL, 2, "the second bottom must have one region per batch element"},
    {"type: 'PSROIPooling' bottom: 'data' bottom: 'rois' top: 'x'\n"
     "psroi_pooling_param { spatial_scale: 0.1 output_dim: 5 group_size: 3 }",
     Q8_EMODEL, 2, "18 channels are not 5 outputs of 3x3 bins"},
    {"type: 'ROIAlign' bottom: 'data' bottom: 'rois' top: 'x'\n"
     "roi_align_param { pooled_w: 3 pooled_h: 3 roi_end_mode: 1 }",
     Q8_EUNSUPPORTED, 3, "only roi_end_mode 0 is supported"},
    {"type: 'Python' bottom: 'data' top: 'x'\npython_param { module: 'my.code' layer: 'Mine' }",
     Q8_EUNSUPPORTED, 3, "the Python layer my.code.Mine is a program, not a description"},
    {"type: 'Python' bottom: 'data' bottom: 'move' bottom: 'info' top: 'x'\n"
     "python_param { module: 'm' layer: 'ProposalLayer' param_str: '{}' }",
     Q8_EMODEL, 3, "feat_stride missing in '{}'"},
    {"type: 'Python' bottom: 'data' bottom: 'move' bottom: 'info' top: 'x'\n"
     "python_param { module: 'm' layer: 'ProposalLayer' param_str: \"'feat_stride': 16\\n"
     "'scales': [4, 8, 16, 32]\" }",
     Q8_EUNSUPPORTED, 3, "ncnn's Proposal has the anchor scales 8, 16, 32 built in"},
    {"type: 'Python' bottom: 'data' bottom: 'move' bottom: 'info' top: 'x'\n"
     "python_param { module: 'm' layer: 'ProposalLayer' param_str: \"feat_stride: nothing\" }",
     Q8_EMODEL, 3, "feat_stride in 'feat_stride: nothing' is not a number from 1"},
    {"type: 'Proposal' bottom: 'data' bottom: 'move' bottom: 'info' top: 'x'\n"
     "proposal_param { ratio: 1 ratio: 2 }",
     Q8_EUNSUPPORTED, 3, "ncnn's Proposal has the anchor ratios 0.5, 1, 2 built in"},
    {"type: 'Proposal' bottom: 'data' bottom: 'data' bottom: 'info' top: 'x'", Q8_EMODEL, 2,
     "18 and 36 channels of one size are needed"},
    {"type: 'YoloDetectionOutput' bottom: 'data' top: 'x'\n"
     "yolo_detection_output_param { num_classes: 4 num_box: 2 biases: 1 biases: 1 biases: 2 }",
     Q8_EMODEL, 3, "3 biases, but 2 boxes need a width and a height each"},
    {"type: 'YoloDetectionOutput' bottom: 'data' top: 'x'\n"
     "yolo_detection_output_param { num_classes: 5 num_box: 2 }",
     Q8_EMODEL, 3, "2 boxes of 5 values and 5 classes take 20 channels, which bottom 0 does not"},
    {"type: 'Yolov3DetectionOutput' bottom: 'data' top: 'x'\n"
     "yolov3_detection_output_param { num_classes: 4 num_box: 2 mask: 0 mask: 1 anchors_scale: 8 "
     "biases: 3 biases: 4 }",
     Q8_EMODEL, 3, "mask 1, but there are 1 anchors"},
    {"type: 'SPP' bottom: 'data' top: 'x'", Q8_EMODEL, 2, "pyramid_height missing"},
    {"type: 'SPP' bottom: 'data' top: 'x'\nspp_param { pyramid_height: 4 }", Q8_EMODEL, 3,
     "pyramid_height 4 is too much for an input of 5: a level of 4 bins"},
    {"type: 'SPP' bottom: 'data' top: 'x'\nspp_param { pyramid_height: 2 pool: STOCHASTIC }",
     Q8_EUNSUPPORTED, 3, "only MAX and AVE pooling are supported: ncnn has no other"},
    {"type: 'Pooling' bottom: 'data' top: 'x' top: 'mask'\npooling_param { kernel_size: 2 }",
     Q8_EUNSUPPORTED, 2, "a second top (where the maxima were) is not supported: ncnn cannot undo"},
    {"type: 'LSTM' bottom: 'seq' bottom: 'cont' top: 'x'\nrecurrent_param { }", Q8_EMODEL, 3,
     "num_output missing"},
    {"type: 'LSTM' bottom: 'seq' bottom: 'cont' top: 'x'\n"
     "recurrent_param { num_output: 2 expose_hidden: true }",
     Q8_EUNSUPPORTED, 3, "a hidden state that goes in and out (expose_hidden) is not supported"},
    {"type: 'LSTM' bottom: 'pair' bottom: 'cont' top: 'x'\nrecurrent_param { num_output: 2 }",
     Q8_EUNSUPPORTED, 1, "a recurrent layer reads this input as 4 steps of 2 sequences"},
    {"type: 'LSTM' bottom: 'data' bottom: 'cont' top: 'x'\nrecurrent_param { num_output: 2 }",
     Q8_EUNSUPPORTED, 1, "a recurrent layer reads this input as 1 steps of 18 sequences"},
    {"type: 'LRN' bottom: 'data' top: 'x' } layer { name: 'y' type: 'LSTM' bottom: 'x' "
     "bottom: 'cont' top: 'y'\nrecurrent_param { num_output: 2 }",
     Q8_EUNSUPPORTED, 2, "LRN makes what a recurrent layer reads as a sequence"},
    {"type: 'Permute' bottom: 'data' top: 'x' permute_param { order: 3 order: 1 } } layer { "
     "name: 'y' type: 'LSTM' bottom: 'x' bottom: 'cont' top: 'y'\nrecurrent_param { num_output: 2 "
     "}",
     Q8_EUNSUPPORTED, 2, "the top is read as a sequence, so axis 0, the batch, must come second"},
    {"type: 'RNN' bottom: 'seq' bottom: 'cont' top: 'y' recurrent_param { num_output: 2 } } layer "
     "{ name: 'x' type: 'Permute' bottom: 'y' top: 'x'\npermute_param { order: 2 order: 1 }",
     Q8_EUNSUPPORTED, 3, "axis 1, the batch, must stay first"},
    {"type: 'RNN' bottom: 'seq' bottom: 'cont' top: 'y' recurrent_param { num_output: 2 } } layer "
     "{ name: 'x' type: 'InnerProduct' bottom: 'y' top: 'x'\ninner_product_param { num_output: 2 }",
     Q8_EUNSUPPORTED, 2, "InnerProduct cannot read a sequence, whose first axis is the time"},
    {"type: 'RNN' bottom: 'seq' bottom: 'cont' top: 'x'\nrecurrent_param { num_output: 2 } }\n"
     "layer { name: 'y' type: 'Softmax' bottom: 'x' top: 'y'",
     Q8_EUNSUPPORTED, 4, "Softmax cannot read a sequence, whose first axis is the time"},
};

static void messages(void **state)
{
    for (size_t i = 0; i < COUNT(refused); i++) {
        static q8_err err;
        q8_graph *graph = NULL;
        const char *text =
            q8_arena_printf(*state, "%slayer { name: 'it' %s }\n", INPUTS, refused[i].layer);
        const q8_code code = import(*state, text, &graph, &err);
        if (code != refused[i].code || err.line != refused[i].line ||
            !strstr(err.text, refused[i].words))
            fail_msg("%s\ncode %d, line %d: %s", refused[i].layer, code, err.line, err.text);
    }
}

/* --- whole small networks --------------------------------------------------------------------- */

/* Runs all nodes; inputs hold 0.1, 0.2, … @return the values of the last node's output 0 */
static const float *run(q8_arena *arena, const char *text, q8_shape *shape)
{
    static q8_err err;
    q8_graph *g = NULL;
    if (import(arena, text, &g, &err))
        fail_msg("%d: %s", err.line, err.text);
    float **data = q8_arena_array(arena, (size_t)g->n_tensors, sizeof(*data));
    for (int t = 0; t < g->n_tensors; t++) {
        const size_t n = q8_shape_count(&g->tensor[t].shape);
        data[t] = q8_arena_array(arena, n + 1, sizeof(float));
        for (size_t i = 0; i < n; i++)
            data[t][i] = 0.1f * (float)(i + 1);
    }
    const q8_node *node = NULL;
    for (int i = 0; i < g->n_nodes; i++) {
        node = g->node[i];
        q8_shape in[4], out[4];
        const float *from[4];
        float *to[4];
        for (int k = 0; k < node->n_in; k++) {
            in[k] = g->tensor[node->in[k]].shape;
            from[k] = data[node->in[k]];
        }
        for (int k = 0; k < node->n_out; k++) {
            out[k] = g->tensor[node->out[k]].shape;
            to[k] = data[node->out[k]];
        }
        const q8_forward f = {node, in, out, from, to};
        if (node->n_in > 0)
            assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    }
    *shape = g->tensor[node->out[0]].shape;
    return data[node->out[0]];
}

/* Darknet's reorg_cpu, `forward` being the fork's `reverse`. */
static void darknet(const float *x, int w, int h, int c, int stride, bool forward, float *out)
{
    const int out_c = c / (stride * stride);
    for (int k = 0; k < c; k++)
        for (int j = 0; j < h; j++)
            for (int i = 0; i < w; i++) {
                const int in_index = i + w * (j + h * k);
                const int c2 = k % out_c, offset = k / out_c;
                const int w2 = i * stride + offset % stride, h2 = j * stride + offset / stride;
                const int out_index = w2 + w * stride * (h2 + h * stride * c2);
                out[forward ? out_index : in_index] = x[forward ? in_index : out_index];
            }
}

static void reorg_is_darknets(void **state)
{
    enum { C = 8, H = 4, W = 6 };
    for (int reverse = 0; reverse < 2; reverse++) {
        float in[C * H * W], want[C * H * W];
        q8_shape shape;
        for (int i = 0; i < C * H * W; i++)
            in[i] = 0.1f * (float)(i + 1);
        darknet(in, W, H, C, 2, reverse, want);
        const char *text = q8_arena_printf(
            *state,
            "%slayer { name: 'r' type: 'Reorg' bottom: 'd' top: 'r' reorg_param { stride: 2 "
            "reverse: %s } }",
            INPUT("d", "dim: 1 dim: 8 dim: 4 dim: 6"), reverse ? "true" : "false");
        const float *got = run(*state, text, &shape);
        assert_true(q8_shape_equal(&shape, reverse ? &SHAPE3(2, 8, 12) : &SHAPE3(32, 2, 3)));
        assert_memory_equal(got, want, sizeof(want));
    }
}

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

/* lstm_layer.cpp and rnn_layer.cpp with the markers 0, 1, 1. */
static void recurrent(void **state)
{
    enum { T = 3, D = 2, N = 2 };
    for (int lstm = 0; lstm < 2; lstm++) {
        q8_shape shape;
        const int gates = lstm ? Q8_LSTM_GATES : 1;
        double h[N] = {0}, c[N] = {0};
        const char *text = q8_arena_printf(
            *state,
            "%s%slayer { name: 'r' type: '%s' bottom: 'd' bottom: 'cont' top: 'r' recurrent_param "
            "{ num_output: 2 } }",
            INPUT("d", "dim: 3 dim: 1 dim: 2"), INPUT("cont", "dim: 3 dim: 1"),
            lstm ? "LSTM" : "RNN");
        const float *got = run(*state, text, &shape);
        assert_true(q8_shape_equal(&shape, &(q8_shape){2, {T, N}}));
        for (int t = 0; t < T; t++) {
            double g[Q8_LSTM_GATES * N];
            for (int r = 0; r < gates * N; r++) {
                g[r] = sinf((float)r + 10);
                for (int i = 0; i < D; i++)
                    g[r] += sinf((float)(r * D + i)) * 0.1 * (t * D + i + 1);
                for (int i = 0; i < N; i++)
                    g[r] += sinf((float)(r * N + i) + 20) * h[i];
            }
            for (int i = 0; i < N; i++) {
                if (lstm)
                    c[i] = sigmoid(g[N + i]) * c[i] + sigmoid(g[i]) * tanh(g[3 * N + i]);
                h[i] = lstm ? sigmoid(g[2 * N + i]) * tanh(c[i]) : tanh(g[i]);
            }
            for (int o = 0; o < N; o++) {
                double want = lstm ? h[o] : sinf((float)o + 40);
                for (int i = 0; i < N && !lstm; i++)
                    want += sinf((float)(o * N + i) + 30) * h[i];
                assert_float_equal(got[t * N + o], lstm ? want : tanh(want), 1e-5f);
            }
        }
    }
}

#define RNN(bottom)                                                                                \
    "layer { name: 'rnn' type: 'RNN' bottom: '" bottom "' bottom: 'cont' top: 'rnn' "              \
    "recurrent_param { num_output: 2 } } "
#define CONT INPUT("cont", "dim: 4 dim: 1")

/* Caffe's T x N x ... with N left out, by Caffe's own indices. */
static void sequences(void **state)
{
    enum { C = 2, H = 3, W = 4 };
    q8_shape shape;
    const float *got =
        run(*state,
            INPUT("data", "dim: 1 dim: 2 dim: 3 dim: 4") CONT
            "layer { name: 'p' type: 'Permute' bottom: 'data' top: 'p' permute_param "
            "{ order: 3 order: 0 order: 2 order: 1 } } " RNN(
                "p") "layer { name: 'r' type: 'ReLU' bottom: 'p' top: 'r' }",
            &shape);
    assert_true(q8_shape_equal(&shape, &(q8_shape){3, {W, H, C}}));
    for (int w = 0; w < W; w++)
        for (int h = 0; h < H; h++)
            for (int c = 0; c < C; c++)
                assert_float_equal(got[(w * H + h) * C + c],
                                   0.1f * (float)((c * H + h) * W + w + 1), 1e-6f);
    got = run(*state,
              INPUT("s", "dim: 4 dim: 1 dim: 3") CONT RNN(
                  "s") "layer { name: 'p' type: 'Permute' bottom: 's' top: 'p' permute_param "
                       "{ order: 1 order: 2 order: 0 } }",
              &shape);
    assert_true(q8_shape_equal(&shape, &(q8_shape){2, {3, 4}}));
    for (int d = 0; d < 3; d++)
        for (int t = 0; t < 4; t++)
            assert_float_equal(got[d * 4 + t], 0.1f * (float)(t * 3 + d + 1), 1e-6f);
    got = run(*state,
              INPUT("data", "dim: 1 dim: 2 dim: 6") CONT
              "layer { name: 's' type: 'Reshape' bottom: 'data' top: 's' reshape_param "
              "{ shape { dim: 4 dim: 1 dim: -1 } } } " RNN(
                  "s") "layer { name: 'fc' type: 'InnerProduct' bottom: 's' top: 'fc' "
                       "inner_product_param "
                       "{ num_output: 2 axis: 2 bias_term: false } }",
              &shape);
    assert_true(q8_shape_equal(&shape, &(q8_shape){2, {4, 2}}));
    for (int t = 0; t < 4; t++)
        for (int o = 0; o < 2; o++) {
            float want = 0;
            for (int d = 0; d < 3; d++)
                want += 0.1f * (float)(t * 3 + d + 1) * sinf((float)(o * 3 + d));
            assert_float_equal(got[t * 2 + o], want, 1e-5f);
        }
}

/* py-faster-rcnn's first anchor at stride 16, without moves: -84, -40, 99, 55, clipped. */
static void proposal_anchors(void **state)
{
    q8_node *node = make(*state, &q8_op_proposal, 3, 2, KEYS({3, 4}, {5, 0}));
    q8_shape in[] = {SHAPE3(18, 1, 1), SHAPE3(36, 1, 1), {1, {3}}}, out[2];
    float score[18] = {0}, move[36] = {0}, rois[16], scores[4];
    const float info[] = {1000, 1000, 1};
    const float *from[] = {score, move, info};
    float *to[] = {rois, scores};
    for (int k = 0; k < 9; k++)
        score[9 + k] = 0.9f - 0.1f * (float)k;
    assert_int_equal(infer_code(node, in, out), Q8_OK);
    const q8_forward f = {node, in, out, from, to};
    q8_err err = {0};
    assert_int_equal(node->op->forward(&f, &err), Q8_OK);
    const float first[] = {0, 0, 100,
                           56}; /* one more than Caffe's: no pixel is left out at the end */
    for (int i = 0; i < 4; i++)
        assert_float_equal(rois[i], first[i], 0);
    assert_float_equal(scores[0], 0.9f, 0);
    for (int i = 0; i < 4; i++) /* never negative, and zeros past the last one */
        assert_true(scores[i] >= 0 && (scores[i] > 0 || rois[4 * i + 2] == 0));
}

/* One box, one cell. */
static void yolo_boxes(void **state)
{
    const q8_op *const ops[] = {&q8_op_yolodetectionoutput, &q8_op_yolov3detectionoutput};
    for (int v3 = 0; v3 < 2; v3++) {
        q8_node *node = make(*state, ops[v3], 1, 1, KEYS({0, 2}, {1, 1}));
        const float biases[] = {2, 3, 40, 60}, mask[] = {1}, scales[] = {32};
        set_floats(node, 4, 4, biases);
        if (v3) {
            set_floats(node, 5, 1, mask);
            set_floats(node, 6, 1, scales);
        }
        const float values[] = {0.5f, -0.5f, 0.1f, 0.2f, 1, 0.3f, 0.9f};
        const float *from = values;
        float row[6], *to = row;
        q8_shape in = SHAPE3(7, 1, 1), out;
        q8_err err = {0};
        assert_int_equal(infer_code(node, &in, &out), Q8_OK);
        assert_true(q8_shape_equal(&out, &(q8_shape){2, {1, 6}}));
        const q8_forward f = {node, &in, &out, &from, &to};
        assert_int_equal(node->op->forward(&f, &err), Q8_OK);
        const double w = exp(0.1) * (v3 ? 40.0 / 32 : 2), h = exp(0.2) * (v3 ? 60.0 / 32 : 3);
        const double share = exp(0.9) / (exp(0.3) + exp(0.9));
        const double want[] = {2,
                               v3 ? 1 / (1 + exp(-1) * (1 + exp(-0.9))) : sigmoid(1) * share,
                               sigmoid(0.5) - w / 2,
                               sigmoid(-0.5) - h / 2,
                               sigmoid(0.5) + w / 2,
                               sigmoid(-0.5) + h / 2};
        for (int i = 0; i < 6; i++)
            assert_float_equal(row[i], want[i], 1e-5f);
        set_float(node, 2, 0.99f);
        assert_int_equal(node->op->forward(&f, &err), Q8_OK);
        assert_float_equal(row[0], -1, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ARENA_TEST(messages),         ARENA_TEST(reorg_is_darknets), ARENA_TEST(recurrent),
        ARENA_TEST(proposal_anchors), ARENA_TEST(yolo_boxes),        ARENA_TEST(sequences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
