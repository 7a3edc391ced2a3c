#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "device.h"
#include "stats.h"

/* What stands behind a flag. */
enum kind {
    TEXT,    /* one word */
    TEXTS,   /* words until the next flag */
    NUMBERS, /* floats until the next flag: float[4] with its count in an int before it */
    MEAN,    /* the same or a file: into a q8_preprocess */
    COUNT,   /* an integer >= low */
    LIMIT,   /* a float above 0, up to high */
    SIZE,    /* WxH: two ints */
    BYTES,   /* a number, perhaps with K, M, G or T behind it: a size_t */
    CHOICE,  /* one of `choices`, stored by position */
    SWITCH,  /* nothing: sets a bool */
};

struct row {
    const char *name;
    enum kind kind;
    size_t offset, count_offset;
    const char *argument; /* as the help shows it */
    const char *help;
    const char *const *choices;
    int low, high; /* of COUNT and LIMIT; high of NUMBERS: most values */
};

static const char *const precisions[] = {"int8", "fp16", "fp32", NULL};
static const char *const resizes[] = {"auto", "stretch", "crop", "letterbox", NULL};
static const char *const methods[] = {"mse",        "auto", "kl", "minmax",
                                      "percentile", "aciq", "eq", NULL};
static const char *const compats[] = {"none", "original", "ncnn", NULL};
static const char *const weight_bits[] = {"auto", "8", "6", NULL};
static const char *const roundings[] = {"nearest", "compensate", NULL};
static const char *const pixels[] = {"auto", "bgr", "rgb", "gray", NULL};
static const char *const progresses[] = {"auto", "always", "never", NULL};

#define AT(member) offsetof(struct options, member)

static const struct row rows[] = {
    {"proto", TEXT, AT(proto), 0, "FILE", "deploy prototxt", NULL, 0, 0},
    {"model", TEXT, AT(model), 0, "FILE", "caffemodel", NULL, 0, 0},
    {"param", TEXT, AT(param), 0, "FILE", "a float ncnn model instead of a Caffe one: its param",
     NULL, 0, 0},
    {"bin", TEXT, AT(bin), 0, "FILE", "its weights", NULL, 0, 0},
    {"mean", MEAN, AT(preprocess), 0, "A [B C] | FILE",
     "subtracted per channel, in the model's channel order, or a .binaryproto or .npy file, per "
     "channel or per pixel (default: the prototxt's transform_param, else 0)",
     NULL, 0, 4},
    {"norm", NUMBERS, AT(preprocess.norm), AT(preprocess.n_norm), "X [Y Z]",
     "multiplied after that, one value or one per channel (default: transform_param's scale, else "
     "1)",
     NULL, 0, 4},
    {"images", TEXTS, AT(images), AT(n_images), "[INPUT=]DIR...",
     "calibration pictures: folders (searched recursively), list files (.txt), pictures; or .npy "
     "tensors (CxHxW or NxCxHxW), used as they are; with INPUT= for each input of a network that "
     "has several",
     NULL, 0, 0},
    {"compat", CHOICE, AT(compat), 0, "none|original|ncnn",
     "compute the scales that the original tool or ncnn2table's kl computes, whatever --method "
     "and the flags of the steps below it say (default none)",
     compats, 0, 0},
    {"table", TEXT, AT(table), 0, "FILE",
     "take all scales from an ncnn calibration table of this model; needs no pictures", NULL, 0, 0},
    {"output_table", TEXT, AT(output_table), 0, "FILE",
     "write such a table too: with --equalize 0 and --shift 0, or --compat", NULL, 0, 0},
    {"stats", TEXTS, AT(stats), AT(n_stats), "FILE...",
     "take statistics from files that --stats_out has written, merged, instead of calibrating; "
     "--images is then needed for refinement and verification only",
     NULL, 0, 0},
    {"stats_out", TEXT, AT(stats_out), 0, "FILE",
     "write the statistics too, or, without --output_param and --output_bin, only these; what is "
     "done so far is kept in FILE.partial, where a run that was interrupted goes on",
     NULL, 0, 0},
    {"checkpoint", COUNT, AT(checkpoint), 0, "SECONDS", "how often that is written (default 10)",
     NULL, 0, 86400},
    {"output_param", TEXT, AT(output_param), 0, "FILE", "ncnn param to write", NULL, 0, 0},
    {"output_bin", TEXT, AT(output_bin), 0, "FILE", "ncnn bin to write", NULL, 0, 0},
    {"group", COUNT, AT(group), 0, "0|1",
     "weight scales: 1 per output channel, 0 one per layer (default 1)", NULL, 0, 1},
    {"shift", COUNT, AT(shift), 0, "0|1",
     "shift tensors that are never negative so that all codes are used (default 1)", NULL, 0, 1},
    {"requantize", COUNT, AT(requantize), 0, "0|1",
     "hand codes from one int8 convolution to the next, without floats between (default 1)", NULL,
     0, 1},
    {"bias_correct", COUNT, AT(bias_correct), 0, "0|1",
     "take the mean error of rounded weights off the biases (default 1)", NULL, 0, 1},
    {"method", CHOICE, AT(method), 0, "mse|auto|kl|minmax|percentile|aciq|eq",
     "how the value at which an activation saturates is chosen (default mse: least squared error; "
     "auto: by the error that int8 layers make of it, simulated on calibration pictures)",
     methods, 0, 0},
    {"weight_bits", CHOICE, AT(weight_bits), 0, "auto|8|6",
     "of 3x3 stride-1 convolutions: 8 within what ncnn's winograd can add up, channel by channel; "
     "always 8; or 6 as ncnn2table (default auto)",
     weight_bits, 0, 0},
    {"round", CHOICE, AT(round), 0, "nearest|compensate",
     "weights to the nearest integer, or so that errors cancel on calibration pictures (default "
     "compensate)",
     roundings, 0, 0},
    {"equalize", COUNT, AT(equalize), 0, "0|1",
     "make the channels of activations more alike in size where that lessens the error (default 1)",
     NULL, 0, 1},
    {"keep_float", TEXT, AT(keep_float), 0, "LAYER,...",
     "leave these layers in float, named as in the prototxt", NULL, 0, 0},
    {"max_kl", LIMIT, AT(max_kl), 0, "X",
     "leave as few layers in float as bring the mean KL divergence of the outputs down to X; exit "
     "3 "
     "if that is out of reach",
     NULL, 0, 1000},
    {"min_cosine", LIMIT, AT(min_cosine), 0, "X", "the same for their cosine, at least X", NULL, 0,
     1},
    {"min_agreement", LIMIT, AT(min_agreement), 0, "PCT",
     "the same for how often, in per cent, the class is the float network's", NULL, 0, 100},
    {"gpu", COUNT, AT(gpu), 0, "0|1", "run the networks on a GPU, by OpenCL (default 0)", NULL, 0,
     1},
    {"device", TEXT, AT(device), 0, "N|list",
     "which OpenCL device that is (default: the first that is a GPU, else the first); list: print "
     "what there is",
     NULL, 0, 0},
    {"precision", CHOICE, AT(precision), 0, "int8|fp16|fp32",
     "of the weights written; float needs no pictures (default int8)", precisions, 0, 0},
    {"size", SIZE, AT(width), AT(height), "WxH", "input size (default: the prototxt's)", NULL, 0,
     0},
    {"resize", CHOICE, AT(resize), 0, "stretch|crop|letterbox",
     "stretch pictures to the input's size, or keep their form: crop what does not fit, or add a "
     "border of the mean's colour (default stretch)",
     resizes, 0, 0},
    {"pixel", CHOICE, AT(pixel), 0, "bgr|rgb|gray",
     "channel order of the input (default bgr; gray for one channel)", pixels, 0, 0},
    {"limit", COUNT, AT(limit), 0, "N",
     "use at most N pictures, evenly spaced over the sorted list", NULL, 1, INT_MAX},
    {"verify", TEXTS, AT(verify), AT(n_verify), "N | [INPUT=]DIR...",
     "pictures to compare the int8 network with the float one on: N of those that --limit leaves "
     "out (of all, where it leaves too few), or these; 0: none (default 32)",
     NULL, 0, 0},
    {"labels", TEXT, AT(labels), 0, "FILE",
     "lines of a picture's name and the number of its class, to tell accuracy when verifying", NULL,
     0, 0},
    {"json", TEXT, AT(json), 0, "FILE", "write what became of each layer, and all figures", NULL, 0,
     0},
    {"report", TEXT, AT(report), 0, "FILE.html",
     "the same and more as one page to look at: histograms, weights, rewrites, pictures as the "
     "network saw them",
     NULL, 0, 0},
    {"threads", COUNT, AT(threads), 0, "N",
     "default: every core; under mpirun each process's share of the cores it may use", NULL, 1,
     1024},
    {"batch", COUNT, AT(batch), 0, "N",
     "pictures that each thread runs at once while calibrating (default: as is fastest)", NULL, 1,
     1024},
    {"max_memory", BYTES, AT(max_memory), 0, "BYTES",
     "have at most so much memory at once, such as 2G or 800M: smaller batches, fewer threads, "
     "fewer "
     "pictures to refine on; then an error (default: as much as it takes)",
     NULL, 0, 0},
    {"strict", SWITCH, AT(strict), 0, "", "an unreadable picture is an error", NULL, 0, 0},
    {"fast", SWITCH, AT(fast), 0, "",
     "convolutions in bf16 while calibrating, on CPUs that have it; tells what that changed in the "
     "thresholds",
     NULL, 0, 0},
    {"progress", CHOICE, AT(progress), 0, "auto|always|never",
     "progress bar (default auto: on a terminal)", progresses, 0, 0},
    {"quiet", SWITCH, AT(quiet), 0, "", "print errors and warnings only", NULL, 0, 0},
    {"verbose", SWITCH, AT(verbose), 0, "", "print every layer's decision", NULL, 0, 0},
    {"version", SWITCH, AT(version), 0, "", "print the version", NULL, 0, 0},
    {"help", SWITCH, AT(help), 0, "", "print this (-h too)", NULL, 0, 0},
};

#define CONTROL_CHARACTERS                                                                         \
    "\001\002\003\004\005\006\a\b\t\n\v\f\r\016\017\020\021\022\023\024\025\026\027\030\031\032"   \
    "\033\034\035\036\037\177"

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* --- messages --------------------------------------------------------------------------------- */

static bool usage_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static bool usage_error(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("error: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return false;
}

/* Levenshtein distance of two short words; the same letter in '-' and '_' form is no difference. */
static size_t distance(const char *a, size_t n_a, const char *b)
{
    enum { LONGEST = 32 };
    const size_t n_b = strlen(b);
    size_t row[LONGEST + 1];
    if (n_a > LONGEST || n_b > LONGEST)
        return SIZE_MAX;
    for (size_t k = 0; k <= n_b; k++)
        row[k] = k;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= n_b; k++) {
            const size_t replace = diagonal + (tolower((unsigned char)a[i - 1]) != b[k - 1]);
            const size_t drop = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            diagonal = row[k];
            row[k] = replace < drop ? replace : drop;
        }
    }
    return row[n_b];
}

static bool unknown_flag(const char *name, size_t length)
{
    const struct row *nearest = NULL;
    size_t best = length / 3 + 2;
    for (int i = 0; i < N_ROWS; i++) {
        const size_t d = distance(name, length, rows[i].name);
        if (d < best) {
            best = d;
            nearest = &rows[i];
        }
    }
    if (nearest)
        return usage_error("unknown flag --%.*s; did you mean --%s?", (int)length, name,
                           nearest->name);
    return usage_error("unknown flag --%.*s; see --help", (int)length, name);
}

/* --- values ----------------------------------------------------------------------------------- */

static bool parse_integer(const struct row *row, const char *text, int *value)
{
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    if (end == text || *end || errno || number < row->low || number > row->high) {
        if (row->high == INT_MAX)
            return usage_error("--%s needs an integer of at least %d, not '%s'", row->name,
                               row->low, text);
        return usage_error("--%s needs an integer from %d to %d, not '%s'", row->name, row->low,
                           row->high, text);
    }
    *value = (int)number;
    return true;
}

static bool parse_limit(const struct row *row, const char *text, float *value)
{
    char *end;
    *value = strtof(text, &end);
    if (end == text || *end || !(*value > 0) || !(*value <= (float)row->high))
        return usage_error("--%s needs a number above 0, at most %d, not '%s'", row->name,
                           row->high, text);
    return true;
}

static bool parse_numbers(const struct row *row, char **words, int n, float *values, int *count)
{
    if (n > row->high)
        return usage_error("--%s takes at most %d values, not %d", row->name, row->high, n);
    for (int i = 0; i < n; i++) {
        char *end;
        values[i] = strtof(words[i], &end);
        if (end == words[i] || *end || !isfinite(values[i]))
            return usage_error("--%s: '%s' is not a number", row->name, words[i]);
    }
    *count = n;
    return true;
}

/* Values, or one word that is a file's name. */
static bool parse_mean(const struct row *row, char **words, int n, q8_preprocess *pre)
{
    char *end;
    strtof(words[0], &end);
    pre->n_mean = 0;
    pre->mean_file = NULL;
    if (n > 1 || (end != words[0] && !*end))
        return parse_numbers(row, words, n, pre->mean, &pre->n_mean);
    if (!strchr(words[0], '.') && !strchr(words[0], '/'))
        return usage_error("--%s: '%s' is neither a number nor a file (.binaryproto, .npy)",
                           row->name, words[0]);
    pre->mean_file = words[0];
    return true;
}

static bool parse_size(const struct row *row, const char *text, int *width, int *height)
{
    char end;
    if (sscanf(text, "%5dx%5d%c", width, height, &end) != 2 || *width < 1 || *height < 1)
        return usage_error("--%s needs WIDTHxHEIGHT such as 224x224, not '%s'", row->name, text);
    return true;
}

/* "800M", "2G", "1048576" */
static bool parse_bytes(const struct row *row, const char *text, size_t *bytes)
{
    static const char units[] = "KMGT";
    char *end;
    errno = 0;
    const unsigned long long number =
        isdigit((unsigned char)text[0]) ? strtoull(text, &end, 10) : 0;
    const char *unit = number && *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    const int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    if (number == 0 || errno || (*end && (!unit || end[1])) || number > SIZE_MAX >> 1 >> shift)
        return usage_error("--%s needs a size such as 800M or 2G, not '%s'", row->name, text);
    *bytes = (size_t)number << shift;
    return true;
}

static bool parse_choice(const struct row *row, const char *text, int *value)
{
    for (int i = 0; row->choices[i]; i++)
        if (strcmp(row->choices[i], text) == 0) {
            *value = i;
            return true;
        }
    return usage_error("--%s is one of %s, not '%s'", row->name, row->argument, text);
}

static bool store_texts(char **words, int n, const char **texts, size_t *count)
{
    for (int i = 0; i < n; i++) {
        if (*count == MAX_IMAGES)
            return usage_error("more than %d sources of pictures: use a folder or a list file",
                               MAX_IMAGES);
        texts[(*count)++] = words[i];
    }
    return true;
}

/* `words` are the flag's values, none for a SWITCH. */
static bool store(const struct row *row, struct options *o, char **words, int n)
{
    void *member = (char *)o + row->offset;
    void *counter = (char *)o + row->count_offset;
    switch (row->kind) {
    case TEXT:
        *(const char **)member = words[0];
        return true;
    case TEXTS:
        return store_texts(words, n, member, counter);
    case NUMBERS:
        return parse_numbers(row, words, n, member, counter);
    case MEAN:
        return parse_mean(row, words, n, member);
    case COUNT:
        return parse_integer(row, words[0], member);
    case LIMIT:
        return parse_limit(row, words[0], member);
    case SIZE:
        return parse_size(row, words[0], member, counter);
    case BYTES:
        return parse_bytes(row, words[0], member);
    case CHOICE:
        return parse_choice(row, words[0], member);
    case SWITCH:
        *(bool *)member = true;
        return true;
    }
    return false;
}

/* --- words ------------------------------------------------------------------------------------ */

/* '-' and '_' mean the same. */
static const struct row *find(const char *name, size_t length)
{
    for (int i = 0; i < N_ROWS; i++) {
        const char *known = rows[i].name;
        size_t k = 0;
        while (k < length && known[k] && (name[k] == '-' ? '_' : name[k]) == known[k])
            k++;
        if (k == length && !known[k])
            return &rows[i];
    }
    return NULL;
}

static bool is_flag(const char *word)
{
    if (strcmp(word, "-h") == 0)
        return true;
    return word[0] == '-' && word[1] == '-' && isalpha((unsigned char)word[2]);
}

static bool takes_many(const struct row *row)
{
    return row->kind == TEXTS || row->kind == NUMBERS || row->kind == MEAN;
}

/* How many words from `words[0]` on belong to a flag whose value is not behind a '='. */
static int count_values(const struct row *row, char **words)
{
    int n = 0;
    while (row->kind != SWITCH && words[n] && !is_flag(words[n]) && (takes_many(row) || n == 0))
        n++;
    return n;
}

/* A bare key=value where a flag was meant, as the original README's own example has it. */
static const struct row *bare_flag(const char *word, size_t length)
{
    const struct row *row = word[length] == '=' ? find(word, length) : NULL;
    if (row)
        fprintf(stderr, "warning: '%s' taken as '--%s'\n", word, word);
    return row;
}

/* Reads one flag and its values. @return words used, 0 on error */
static int parse_flag(struct options *o, char **argv)
{
    char *word = strcmp(argv[0], "-h") == 0 ? (char[]){"--help"} : argv[0];
    const bool dashed = is_flag(word);
    const char *name = word + (dashed ? 2 : 0);
    const size_t length = strcspn(name, "=");
    const struct row *row = dashed ? find(name, length) : bare_flag(name, length);
    if (!row) {
        if (dashed)
            unknown_flag(name, length);
        else
            usage_error("'%s' stands where a flag was expected; see --help", word);
        return 0;
    }
    char *value = name[length] == '=' ? word + (name - word) + length + 1 : NULL;
    if (value && (row->kind == SWITCH || !*value)) {
        usage_error(*value ? "--%s takes no value" : "--%s needs a value", row->name);
        return 0;
    }
    /* --mean=1 2 3 goes on after its first value too. */
    const int more = value && !takes_many(row) ? 0 : count_values(row, argv + 1);
    if (!value && more == 0 && row->kind != SWITCH) {
        usage_error("--%s needs a value: %s", row->name, row->argument);
        return 0;
    }
    if (!value)
        return store(row, o, argv + 1, more) ? 1 + more : 0;
    argv[0] = value;
    return store(row, o, argv, 1 + more) ? 1 + more : 0;
}

static bool check_source(const struct options *o)
{
    const bool ncnn = o->param || o->bin;
    if (ncnn && (o->proto || o->model))
        return usage_error("--proto and --model are for a Caffe model, --param and --bin for an "
                           "ncnn model: not both");
    if (ncnn && !o->bin)
        return usage_error("--bin is missing: the float ncnn model's weights");
    if (ncnn && !o->param)
        return usage_error("--param is missing: the float ncnn model's structure");
    if (ncnn && o->width)
        return usage_error("--size is for a Caffe model: an ncnn param has the size in its Input "
                           "layer (0=width 1=height)");
    if (!ncnn && !o->proto)
        return usage_error("--proto is missing: the deploy prototxt");
    if (!ncnn && !o->model)
        return usage_error("--model is missing: the caffemodel");
    return true;
}

/* What a terminal would obey, or would break lines of a list, is no name for a file to be made. */
static bool check_outputs(const struct options *o)
{
    static const size_t outputs[] = {AT(output_param), AT(output_bin), AT(output_table),
                                     AT(stats_out),    AT(json),       AT(report)};
    for (size_t i = 0; i < sizeof(outputs) / sizeof(outputs[0]); i++) {
        const char *name = *(const char *const *)((const char *)o + outputs[i]);
        for (int r = 0; name && r < N_ROWS; r++)
            if (rows[r].kind == TEXT && rows[r].offset == outputs[i] &&
                name[strcspn(name, CONTROL_CHARACTERS)])
                return usage_error("--%s: a name with a line break or another control character",
                                   rows[r].name);
    }
    return true;
}

static bool check(struct options *o)
{
    if (!check_source(o) || !check_outputs(o))
        return false;
    if (!o->output_param && !stats_is_all(o))
        return usage_error("--output_param is missing: the ncnn param to write");
    if (!o->output_bin && !stats_is_all(o))
        return usage_error("--output_bin is missing: the ncnn bin to write");
    if (o->precision == Q8_INT8 && o->n_images == 0 && !o->table && !o->n_stats)
        return usage_error("--images is missing: int8 needs calibration pictures "
                           "(--precision fp16 or fp32 does not)");
    const char *wrong = stats_usage(o);
    if (wrong)
        return usage_error("%s", wrong);
    if (o->precision != Q8_INT8 && (o->table || o->output_table))
        return usage_error("--table and --output_table are for --precision int8");
    if (o->precision != Q8_INT8 && (o->report || o->json))
        return usage_error("--%s is for --precision int8", o->report ? "report" : "json");
    if (o->table && o->compat)
        return usage_error("--table and --compat: the scales are either the table's or those of an "
                           "older tool");
    if (o->output_table && !o->table && !o->compat && (o->equalize || o->shift))
        return usage_error("--output_table needs --equalize 0 --shift 0, or --compat: those steps "
                           "rewrite the network, and its scales would not fit the float model");
    if ((o->max_kl > 0 || o->min_cosine > 0 || o->min_agreement > 0) &&
        (o->precision != Q8_INT8 || o->table || o->compat))
        return usage_error("--max_kl, --min_cosine and --min_agreement are for --precision int8, "
                           "without --table and --compat");
    if (o->keep_float && o->precision != Q8_INT8)
        return usage_error("--keep_float is for --precision int8");
    if (o->fast && (o->precision != Q8_INT8 || o->table || o->compat || o->n_stats || o->stats_out))
        return usage_error("--fast is for --precision int8, without --table, --compat, --stats and "
                           "--stats_out");
    wrong = device_usage(o);
    if (wrong)
        return usage_error("%s", wrong);
    return true;
}

bool options_parse(struct options *o, int argc, char **argv)
{
    *o = (struct options){.group = 1,
                          .bias_correct = 1,
                          .equalize = 1,
                          .shift = 1,
                          .requantize = 1,
                          .round = 1,
                          .checkpoint = 10};
    for (int i = 1; i < argc;) {
        const int used = parse_flag(o, argv + i);
        if (used == 0)
            return false;
        i += used;
    }
    o->preprocess.pixel = o->pixel;
    o->preprocess.resize = o->resize;
    return o->help || o->version || device_is_list(o) || check(o);
}

/* A flag, and beside it what it does in lines of a terminal's width. */
static void print_row(const struct row *row, FILE *out)
{
    enum { LEFT = 33, RIGHT = 66 };
    char flag[64];
    const char *rest = row->help;
    snprintf(flag, sizeof(flag), "  --%s %s", row->name, row->argument);
    fprintf(out, "%-*s", LEFT, flag);
    if (strlen(flag) >= LEFT)
        fprintf(out, "\n%*s", LEFT, "");
    while (strlen(rest) > RIGHT) {
        int n = RIGHT;
        while (n > 1 && rest[n] != ' ')
            n--;
        fprintf(out, "%.*s\n%*s", n, rest, LEFT, "");
        rest += n + (rest[n] == ' ');
    }
    fprintf(out, "%s\n", rest);
}

void options_help(FILE *out)
{
    fputs(
        "caffe-int8-to-ncnn: a float Caffe model and a folder of pictures in, an int8 ncnn model "
        "out\n\n"
        "  caffe-int8-to-ncnn --proto=deploy.prototxt --model=net.caffemodel --images=photos/ \\\n"
        "      --mean 104 117 123 --norm=0.017 --output_param=net.param --output_bin=net.bin\n\n"
        "  caffe-int8-to-ncnn show --help    for a network as a table, without pictures\n"
        "  mpirun -n N caffe-int8-to-ncnn ...    the work shared by N processes, the same files\n\n"
        "Flags (--flag=value or --flag value; '-' and '_' inside a name mean the same):\n",
        out);
    for (int i = 0; i < N_ROWS; i++)
        print_row(&rows[i], out);
    fputs("\nExit: 0 done, 1 failed, 2 wrong usage, 3 written, but not as accurate as asked,\n     "
          " 130 interrupted.\n",
          out);
}
