#include "show.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <q8/q8.h>

#include "message.h"
#include "table.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char help[] =
    "caffe-int8-to-ncnn show: a network as a table, without pictures\n\n"
    "  caffe-int8-to-ncnn show --proto=deploy.prototxt [--model=net.caffemodel]\n"
    "  caffe-int8-to-ncnn show --param=net.param [--bin=net.bin]\n\n"
    "  --proto FILE   deploy prototxt\n"
    "  --model FILE   caffemodel: checks that its weights fit; nothing else needs them\n"
    "  --param FILE   ncnn param, float or int8\n"
    "  --bin FILE     ncnn bin: adds the scales of int8 layers\n"
    "  --size WxH     input size (default: the prototxt's)\n"
    "  --raw          a Caffe network as the file has it, not as it would be written\n"
    "  --gpu          which layers run on the CPU all the same under --gpu 1\n"
    "  --json         JSON\n"
    "  --help         this\n\n"
    "Columns: shapes are channels x height x width of one picture, (2) means two such. MACs\n"
    "are the multiply-adds of convolutions and fully-connected layers for one picture. Fused\n"
    "are the layers whose work a layer does besides its own (BN: BatchNorm). int8 scales are\n"
    "those of the input / the weights, and / the output where it is int8 too.\n\n"
    "Exit: 0 done, 1 failed, 2 wrong usage.\n";

/* --- numbers ---------------------------------------------------------------------------------- */

/* Three digits and a unit: "1.24 M". 0 is "". */
static const char *short_number(uint64_t value, char text[32])
{
    static const char units[] = "kMGTPE";
    double x = (double)value;
    int unit = -1;
    while (x >= 999.5 && unit < 5) {
        x /= 1000;
        unit++;
    }
    text[0] = '\0';
    if (unit >= 0)
        snprintf(text, 32, "%.*f %c", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, units[unit]);
    else if (value > 0)
        snprintf(text, 32, "%d", (int)value);
    return text;
}

/* "1,235,496" */
static const char *long_number(uint64_t value, char text[32])
{
    char digits[32];
    const int n = snprintf(digits, sizeof(digits), "%" PRIu64, value);
    char *to = text;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

static const char *bytes_text(double bytes, char text[32])
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB"};
    int unit = 0;
    while (bytes >= 1024 && unit < 3) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.*f %s", unit > 0 && bytes < 99.95, bytes, units[unit]);
    return text;
}

/* --- the table -------------------------------------------------------------------------------- */

enum { LAYER, TYPE, INPUT, OUTPUT, PARAMS, MACS, FUSED, INT8, RUNS, N_COLUMNS };

static const struct column columns[N_COLUMNS] = {
    [LAYER] = {"layer", false, CUT_MIDDLE, 14, false},
    [TYPE] = {"type", false, CUT_MIDDLE, 11, false},
    [INPUT] = {"input", false, CUT_END, 11, true},
    [OUTPUT] = {"output", false, CUT_END, 11, false},
    [PARAMS] = {"params", true, CUT_NEVER, 0, false},
    [MACS] = {"MACs", true, CUT_NEVER, 0, false},
    [FUSED] = {"fused", false, CUT_END, 13, false},
    [INT8] = {"int8 scales", false, CUT_END, 18, false},
    [RUNS] = {"with --gpu 1", false, CUT_NEVER, 0, false},
};

enum { LIST_SIZE = 256 };

static bool same_shape(const q8_net_tensor *a, const q8_net_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof(int)) == 0;
}

/* "64x55x55", "64x55x55 (2)" for two such, or "64x55x55, 32x55x55". */
static const char *shapes_text(const q8_net_tensor *tensor, size_t n, char text[LIST_SIZE])
{
    size_t used = 0;
    bool same = true;
    for (size_t i = 1; i < n; i++)
        same = same && same_shape(&tensor[0], &tensor[i]);
    text[0] = '\0';
    for (size_t i = 0; i < (same && n > 0 ? 1 : n) && used < LIST_SIZE; i++) {
        for (int k = 0; k < tensor[i].rank && used < LIST_SIZE; k++)
            used += (size_t)snprintf(text + used, LIST_SIZE - used, "%s%d",
                                     k > 0   ? "x"
                                     : i > 0 ? ", "
                                             : "",
                                     tensor[i].dim[k]);
    }
    if (same && n > 1 && used < LIST_SIZE)
        snprintf(text + used, LIST_SIZE - used, " (%zu)", n);
    return text;
}

static const char *fused_text(const q8_net_layer *layer, char text[LIST_SIZE])
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < layer->n_fused && used < LIST_SIZE; i++) {
        const char *type = strcmp(layer->fused[i], "BatchNorm") == 0 ? "BN" : layer->fused[i];
        used += (size_t)snprintf(text + used, LIST_SIZE - used, "%s%s", i ? "+" : "", type);
    }
    return text;
}

/* A scale to three digits, never as a power of ten. */
static const char *scale_text(float scale, char text[32])
{
    snprintf(text, 32, scale < 1000 ? "%.3g" : "%.0f", (double)scale);
    return text;
}

/* "int8", or its scales: "12.3 / 34.5..560", and " / 45" when the output is int8. */
static const char *int8_text(const q8_net_layer *layer, char text[LIST_SIZE])
{
    char in[32], min[32], max[32], out[32];
    const bool range = layer->weight_scale_max > layer->weight_scale_min;
    text[0] = '\0';
    if (!layer->int8)
        return text;
    if (!(layer->in_scale > 0))
        return "int8";
    snprintf(text, LIST_SIZE, "%s / %s%s%s%s%s", scale_text(layer->in_scale, in),
             scale_text(layer->weight_scale_min, min), range ? ".." : "",
             range ? scale_text(layer->weight_scale_max, max) : "",
             layer->out_scale > 0 ? " / " : "",
             layer->out_scale > 0 ? scale_text(layer->out_scale, out) : "");
    return text;
}

static void set_row(struct table *table, size_t row, const q8_net_layer *layer)
{
    char text[LIST_SIZE], number[32];
    table_set(table, row, LAYER, "%s", layer->name);
    table_set(table, row, TYPE, "%s", layer->type);
    table_set(table, row, INPUT, "%s", shapes_text(layer->in, layer->n_in, text));
    table_set(table, row, OUTPUT, "%s", shapes_text(layer->out, layer->n_out, text));
    table_set(table, row, PARAMS, "%s", short_number(layer->params, number));
    table_set(table, row, MACS, "%s", short_number(layer->macs, number));
    table_set(table, row, FUSED, "%s", fused_text(layer, text));
    table_set(table, row, INT8, "%s", int8_text(layer, text));
    table_set(table, row, RUNS, "%s", layer->on_cpu ? "on the CPU" : "");
}

static void print_totals(const q8_net *net)
{
    char number[32], exact[32];
    printf("\nlayers  %zu", net->n_layers);
    if (net->n_int8)
        printf(", %zu of them int8", net->n_int8);
    if (net->n_fused)
        printf(", %zu more fused into them", net->n_fused);
    if (net->n_dropped)
        printf(", %zu dropped", net->n_dropped);
    printf("\nparams  %s", long_number(net->params, number));
    printf(", %s as fp32\n", bytes_text((double)net->params * 4, number));
    printf("MACs    %s", long_number(net->macs, exact));
    if (net->macs >= 1000)
        printf(" (%s)", short_number(net->macs, number));
    putchar('\n');
}

static bool print_table(const q8_net *net)
{
    struct table *table = table_open(columns, N_COLUMNS, net->n_layers);
    for (size_t i = 0; table && i < net->n_layers; i++)
        set_row(table, i, &net->layer[i]);
    const bool printed = table && table_print(table, terminal_width(stdout), stdout);
    table_close(&table);
    if (printed)
        print_totals(net);
    return printed;
}

/* --- the command line ------------------------------------------------------------------------- */

struct request {
    q8_net_opts net;
    bool json, help;
};

static bool usage_error(const char *what, const char *word)
{
    fprintf(stderr, "error: %s%s; see show --help\n", what, word);
    return false;
}

static bool parse_size(const char *text, q8_net_opts *opts)
{
    char end;
    if (sscanf(text, "%5dx%5d%c", &opts->width, &opts->height, &end) != 2 || opts->width < 1 ||
        opts->height < 1)
        return usage_error("--size needs WIDTHxHEIGHT such as 224x224, not ", text);
    return true;
}

static bool check(const q8_net_opts *opts)
{
    if (!opts->proto == !opts->param)
        return usage_error("show needs --proto or --param", opts->proto ? ", not both" : "");
    if (opts->model && !opts->proto)
        return usage_error("--model goes with --proto, not with --param", "");
    if (opts->bin && !opts->param)
        return usage_error("--bin goes with --param, not with --proto", "");
    if (opts->param && (opts->raw || opts->width || opts->gpu))
        return usage_error(opts->raw     ? "--raw"
                           : opts->width ? "--size"
                                         : "--gpu",
                           " is for Caffe networks");
    return true;
}

static bool parse(struct request *r, int argc, char **argv)
{
    static const struct option flags[] = {
        {"proto", required_argument, NULL, 'p'}, {"model", required_argument, NULL, 'm'},
        {"param", required_argument, NULL, 'P'}, {"bin", required_argument, NULL, 'b'},
        {"size", required_argument, NULL, 's'},  {"raw", no_argument, NULL, 'r'},
        {"gpu", no_argument, NULL, 'g'},         {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},        {NULL, 0, NULL, 0},
    };
    opterr = 0;
    for (int flag; (flag = getopt_long(argc, argv, ":h", flags, NULL)) != -1;) {
        switch (flag) {
        case 'p':
            r->net.proto = optarg;
            break;
        case 'm':
            r->net.model = optarg;
            break;
        case 'P':
            r->net.param = optarg;
            break;
        case 'b':
            r->net.bin = optarg;
            break;
        case 's':
            if (!parse_size(optarg, &r->net))
                return false;
            break;
        case 'r':
            r->net.raw = true;
            break;
        case 'g':
            r->net.gpu = true;
            break;
        case 'j':
            r->json = true;
            break;
        case 'h':
            r->help = true;
            break;
        case ':':
            return usage_error("a value is missing behind ", argv[optind - 1]);
        default:
            return usage_error("show does not know ", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return usage_error("a flag was expected, not ", argv[optind]);
    return r->help || check(&r->net);
}

static void on_warning(void *user, const q8_err *what)
{
    print_message(what, user);
}

static q8_code print_json(const q8_net *net, q8_err *err)
{
    char *text;
    const q8_code code = q8_net_json(net, &text, err);
    if (!code)
        fputs(text, stdout);
    free(text);
    return code;
}

int show_main(int argc, char **argv)
{
    static q8_err err;
    struct request request = {0};
    const q8_env env = {.user = (char[]){"warning"}, .warn = on_warning};
    q8_net *net;
    if (!parse(&request, argc, argv))
        return EXIT_USAGE;
    if (request.help) {
        fputs(help, stdout);
        return EXIT_DONE;
    }
    q8_code code = q8_net_open(&net, &request.net, &env, &err);
    if (!code && request.json)
        code = print_json(net, &err);
    else if (!code && !print_table(net)) {
        err.code = code = Q8_ENOMEM;
        snprintf(err.text, sizeof(err.text), "out of memory");
    }
    q8_net_close(&net);
    if (code)
        print_message(&err, "error");
    else if (fflush(stdout) != 0 || ferror(stdout)) {
        perror("error: cannot write to stdout");
        return EXIT_FAILED;
    }
    return code ? EXIT_FAILED : EXIT_DONE;
}
