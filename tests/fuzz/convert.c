/*
 * The whole conversion of a prototxt, with random weights: the network as imported, in plain C, is
 * what the one after all passes must agree with in oneDNN, and so must the one that is read back
 * from the ncnn files; and all of it through the public calls to int8.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/macs.h"
#include "api/model.h"
#include "base/hash.h"
#include "compare.h"
#include "convert.h"
#include "generate.h"
#include "layers.h"
#include "ncnn/ncnn.h"
#include "network.h"
#include "ops/input.h"
#include "ops/rows.h"
#include "passes/passes.h"
#include "text.h"

enum { MAX_WEIGHTS = 1 << 16, MAX_ELEMENTS = 1 << 16, MAX_MACS = 1 << 22, MAX_INPUTS = 8 };
enum { SAMPLES = 4 };

fuzz_convert_counts fuzz_converted;

/* --- what is small enough --------------------------------------------------------------------- */

static bool is_small(const q8_graph *graph)
{
    uint64_t elements = 0, macs = 0;
    int inputs = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        const q8_node *node = graph->node[i];
        q8_shape *shape = malloc(((size_t)node->n_in + (size_t)node->n_out + 1) * sizeof(*shape));
        if (!shape)
            abort();
        for (int k = 0; k < node->n_in; k++)
            shape[k] = graph->tensor[node->in[k]].shape;
        for (int k = 0; k < node->n_out; k++) {
            shape[node->n_in + k] = graph->tensor[node->out[k]].shape;
            elements += q8_shape_count(&shape[node->n_in + k]);
        }
        macs += q8_node_macs(node, shape, shape + node->n_in);
        inputs += node->op == &q8_op_input;
        free(shape);
    }
    return elements <= MAX_ELEMENTS && macs <= MAX_MACS && inputs <= MAX_INPUTS;
}

static bool is_valid(const Caffe__NetParameter *net)
{
    static q8_err err;
    q8_buf text = {0};
    fuzz_network network;
    q8_arena *arena = fuzz_arena();
    memset(&err, 0, sizeof(err));
    fuzz_text_print(&text, &net->base);
    const q8_code code =
        fuzz_network_read(&network, text.data, text.size, MAX_WEIGHTS, arena, &err);
    const bool valid = !code && is_small(network.graph);
    q8_arena_close(&arena);
    q8_buf_free(&text);
    return valid;
}

/* --- float ------------------------------------------------------------------------------------ */

static q8_graph *copy_graph(const q8_graph *graph)
{
    q8_graph *copy = q8_graph_copy(graph, graph->arena);
    if (!copy)
        abort();
    return copy;
}

/* As it is written and read again; NULL: it has values that no file can hold. */
static q8_graph *written(q8_graph *graph, q8_err *err)
{
    q8_buf param = {0}, bin = {0};
    q8_graph *back;
    fuzz_must(q8_pass_restore_rank(graph, err), err, "restoring ranks");
    fuzz_must(q8_pass_insert_splits(graph, err), err, "inserting splits");
    if (fuzz_write_and_read(graph, err)) {
        fuzz_check(err->code, err);
        memset(err, 0, sizeof(*err));
        return NULL;
    }
    fuzz_must(q8_ncnn_param(graph, &param, err), err, "the param");
    fuzz_must(q8_ncnn_bin(graph, false, &bin, err), err, "the bin");
    fuzz_must(q8_ncnn_read(&back, "out.param", (const char *)param.data, param.size, "out.bin",
                           bin.data, bin.size, graph->arena, err),
              err, "reading");
    q8_buf_free(&param);
    q8_buf_free(&bin);
    return back;
}

/* @return all values are finite */
static bool check_float(const fuzz_network *network, uint64_t seed, q8_err *err)
{
    fuzz_reference reference;
    q8_graph *optimised = copy_graph(network->graph);
    if (fuzz_reference_make(&reference, network->graph, seed, err)) {
        fuzz_check(err->code, err); /* an index out of range, and the like */
        return false;
    }
    fuzz_must(q8_passes_optimise(optimised, err), err, "passes");
    fuzz_must_agree(&reference, optimised, optimised, "oneDNN after all passes", err);
    q8_graph *split = copy_graph(optimised);
    fuzz_must(q8_pass_split_groups(split, err), err, "splitting groups");
    fuzz_must_agree(&reference, split, optimised, "groups split", err);
    const q8_graph *back = written(optimised, err);
    if (back)
        fuzz_must_agree(&reference, back, optimised, "written and read", err);
    return back && fuzz_reference_finite(&reference);
}

/* --- int8 ------------------------------------------------------------------------------------- */

/* Files of a run, made again for each. */
enum file { PROTO, MODEL, PARAM, BIN, JSON, HTML, N_FILES };
enum { PATH_SIZE = 64, MAX_NAME = 100 };

static char folder[PATH_SIZE], path_of[N_FILES][PATH_SIZE], input_path[MAX_INPUTS][PATH_SIZE];
static char image[MAX_INPUTS][MAX_NAME + 1 + PATH_SIZE];
static const char *images[MAX_INPUTS];
static size_t n_images;

static void remove_files(void)
{
    for (int i = 0; i < N_FILES; i++)
        unlink(path_of[i]);
    for (int i = 0; i < MAX_INPUTS; i++)
        unlink(input_path[i]);
    rmdir(folder);
}

static void open_files(void)
{
    static const char *const names[N_FILES] = {"proto", "model", "param", "bin", "json", "html"};
    if (folder[0])
        return;
    strcpy(folder,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/q8-fuzz-XXXXXX" : "/tmp/q8-fuzz-XXXXXX");
    if (!mkdtemp(folder) || atexit(remove_files) != 0)
        abort();
    for (int i = 0; i < N_FILES; i++)
        snprintf(path_of[i], PATH_SIZE, "%.40s/%s", folder, names[i]);
    for (int i = 0; i < MAX_INPUTS; i++)
        snprintf(input_path[i], PATH_SIZE, "%.40s/%d.npy", folder, i);
}

static void write_file(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
}

/* SAMPLES tensors of an input. */
static void write_input(const char *path, const q8_tensor *tensor, uint64_t seed)
{
    q8_buf bytes = {0};
    char header[128];
    int n = snprintf(header, sizeof(header),
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%d,", SAMPLES);
    for (int i = 0; i < tensor->shape.rank; i++)
        n += snprintf(header + n, sizeof(header) - (size_t)n, "%d,", tensor->shape.dim[i]);
    n += snprintf(header + n, sizeof(header) - (size_t)n, ")}\n");
    const unsigned char start[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)n, 0};
    q8_buf_add(&bytes, start, sizeof(start));
    q8_buf_add(&bytes, header, (size_t)n);
    for (int sample = 0; sample < SAMPLES; sample++)
        for (size_t i = 0; i < q8_shape_count(&tensor->shape); i++) {
            const float x = fuzz_input_value(seed, tensor->name, sample, i);
            q8_buf_add(&bytes, &x, sizeof(x));
        }
    write_file(path, bytes.data, bytes.size);
    q8_buf_free(&bytes);
}

/* Inputs by their names in the model; a name with an '=' cannot be told. */
static bool write_inputs(const q8_graph *graph, uint64_t seed)
{
    n_images = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        if (graph->node[i]->op != &q8_op_input)
            continue;
        const q8_tensor *tensor = &graph->tensor[graph->node[i]->out[0]];
        if (n_images == MAX_INPUTS || strchr(tensor->name, '=') || strlen(tensor->name) > MAX_NAME)
            return false;
        write_input(input_path[n_images], tensor, seed);
        snprintf(image[n_images], sizeof(image[0]), "%s=%s", tensor->name, input_path[n_images]);
        images[n_images] = image[n_images];
        n_images++;
    }
    return n_images > 0;
}

static void check_scales(const q8_model *model)
{
    for (int i = 0; i < model->int8->n_nodes; i++) {
        const q8_quant *quant = model->int8->node[i]->quant;
        if (!quant)
            continue;
        fuzz_converted.int8_layers++;
        bool fine = isfinite(quant->bottom_scale) && quant->bottom_scale > 0 &&
                    isfinite(quant->top_scale) && quant->top_scale >= 0;
        for (size_t k = 0; k < quant->n_weight_scales; k++)
            fine &= isfinite(quant->weight_scales[k]) && quant->weight_scales[k] >= 0;
        const q8_weight *bias = &model->int8->node[i]->weight[1];
        for (size_t k = 0; k < bias->count; k++)
            fine &= isfinite(bias->data[k]) != 0;
        if (!fine) {
            fprintf(stderr, "fuzz: layer '%s' has scales or biases that are not finite\n",
                    model->int8->node[i]->name);
            abort();
        }
    }
}

/* Those that try every threshold take as long as all the rest. */
static q8_method method_of(uint64_t seed)
{
    static const q8_method quick[] = {Q8_METHOD_MSE, Q8_METHOD_AUTO, Q8_METHOD_MINMAX,
                                      Q8_METHOD_PERCENTILE, Q8_METHOD_ACIQ};
    if (seed % 16 < 2)
        return seed % 16 ? Q8_METHOD_KL : Q8_METHOD_EQ;
    return quick[seed / 16 % (sizeof(quick) / sizeof(quick[0]))];
}

/* From a calibrated model to files. */
static q8_code finish(q8_model *model, const q8_calib_opts *pictures, uint64_t seed, q8_err *err)
{
    const q8_quant_opts quant = {.method = method_of(seed),
                                 .pictures = seed >> 8 & 1 ? NULL : pictures,
                                 .no_equalise = seed >> 9 & 1 && seed >> 10 & 1,
                                 .no_shift = seed >> 11 & 1 && seed >> 12 & 1,
                                 .per_layer = (seed >> 13 & 3) == 0};
    const q8_verify_opts on = {.pictures = *pictures, .calibrated_on = SAMPLES};
    q8_verify_result verified = {0};
    const q8_report_opts about = {.pictures = pictures, .verified = &verified};
    const q8_output output = {.param = path_of[PARAM],
                              .bin = path_of[BIN],
                              .json = (seed >> 16) % 8 == 0 ? path_of[JSON] : NULL,
                              .report = (seed >> 16) % 8 == 1 ? path_of[HTML] : NULL,
                              .about = &about};
    q8_code code = q8_quantize(model, &quant, &fuzz_env, err);
    if (code)
        return code;
    check_scales(model);
    code = q8_verify(model, &on, &fuzz_env, &verified, err);
    if (!code)
        code = q8_write(model, Q8_INT8, &output, NULL, err);
    q8_verify_free(&verified);
    return code;
}

/* Through the public calls. What computes finite values in float must not fail. */
static void check_int8(const fuzz_network *network, const void *text, size_t size, uint64_t seed,
                       bool is_finite, q8_err *err)
{
    size_t model_size;
    const unsigned char *bytes = random_weights_pack(network->weights, &model_size);
    q8_model *model;
    if (!bytes)
        abort();
    open_files();
    write_file(path_of[PROTO], text, size);
    write_file(path_of[MODEL], bytes, model_size);
    const q8_model_opts opts = {.proto = path_of[PROTO], .model = path_of[MODEL]};
    q8_code code = q8_model_open(&model, &opts, &fuzz_env, err);
    fuzz_check(code, err);
    if (code)
        return; /* layers of one name, and what else random weights do not mind */
    if (write_inputs(model->graph, seed)) {
        const q8_calib_opts pictures = {.images = images, .n_images = n_images, .strict = true};
        code = q8_calibrate(model, &pictures, &fuzz_env, NULL, err);
        if (!code)
            code = finish(model, &pictures, seed, err);
        fuzz_check(code, err);
        if (is_finite && code)
            fuzz_must(code, err, "int8");
        fuzz_converted.int8 += code == Q8_OK;
    }
    q8_model_close(&model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static q8_err err;
    q8_arena *arena = fuzz_arena();
    fuzz_network network;
    memset(&err, 0, sizeof(err));
    fuzz_converted.runs++;
    const q8_code code = fuzz_network_read(&network, data, size, MAX_WEIGHTS, arena, &err);
    fuzz_check(code, &err);
    if (!code && is_small(network.graph)) {
        const uint64_t seed = q8_hash_text(1, network.caffe->name);
        fuzz_converted.valid++;
        const bool is_finite = check_float(&network, seed, &err);
        memset(&err, 0, sizeof(err));
        check_int8(&network, data, size, seed, is_finite, &err);
    }
    q8_arena_close(&arena);
    return 0;
}

/* --- structure -------------------------------------------------------------------------------- */

static Caffe__NetParameter *parse(const uint8_t *data, size_t size, q8_arena *arena)
{
    static q8_err err;
    q8_caffe_net *caffe;
    memset(&err, 0, sizeof(err));
    if (q8_caffe_parse(&caffe, "deploy.prototxt", (const char *)data, size, arena, &fuzz_env, &err))
        return NULL;
    Caffe__NetParameter *net = q8_arena_alloc(arena, sizeof(*net));
    Caffe__LayerParameter **layer =
        q8_arena_array(arena, (size_t)caffe->n_layers + 1, sizeof(*layer));
    if (!net || !layer)
        abort();
    caffe__net_parameter__init(net);
    net->name = q8_arena_strdup(arena, caffe->name);
    net->layer = layer;
    for (int i = 0; i < caffe->n_layers; i++) {
        layer[i] = fuzz_text_copy(&caffe->layer[i].param->base, arena);
        layer[i]->type = q8_arena_strdup(arena, caffe->layer[i].type);
    }
    net->n_layer = (size_t)caffe->n_layers;
    return net;
}

size_t fuzz_convert_generate(uint8_t *data, size_t size, size_t max_size, uint64_t seed)
{
    uint64_t state = seed;
    q8_buf text = {0};
    q8_arena *arena = fuzz_arena();
    Caffe__NetParameter *net = fuzz_chance(&state, 8) ? NULL : parse(data, size, arena);
    net = net && net->n_layer ? fuzz_net_change(net, &state, is_valid, arena)
                              : fuzz_net_new(&state, is_valid, arena);
    fuzz_text_print(&text, &net->base);
    if (text.failed)
        abort();
    if (text.size <= max_size)
        memcpy(data, text.data, size = text.size);
    q8_buf_free(&text);
    q8_arena_close(&arena);
    return size;
}

#ifdef Q8_FUZZER
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return seed % 64 ? fuzz_convert_generate(data, size, max_size, seed)
                     : LLVMFuzzerMutate(data, size, max_size);
}
#endif
