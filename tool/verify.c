#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum { DEFAULT_PICTURES = 32, WORST_LAYERS = 4 };

/* A single word of digits. */
bool verify_is_count(const struct options *o)
{
    return o->n_verify == 1 && o->verify[0][strspn(o->verify[0], "0123456789")] == '\0';
}

bool verify_choose(q8_verify_opts *opts, const struct options *o, const q8_calib_opts *calib,
                   const q8_calib_result *calibrated)
{
    *opts = (q8_verify_opts){.pictures = *calib, .labels = o->labels};
    if (o->n_verify > 0 && !verify_is_count(o)) {
        opts->pictures.images = o->verify;
        opts->pictures.n_images = o->n_verify;
        opts->pictures.limit = 0;
        return true;
    }
    const unsigned long long n =
        verify_is_count(o) ? strtoull(o->verify[0], NULL, 10) : DEFAULT_PICTURES;
    opts->pictures.limit = (size_t)n;
    /* Whose pictures statistics from files are of is not known: any may be among them. */
    opts->calibrated_on = o->n_stats ? SIZE_MAX : calibrated->used + calibrated->skipped;
    return n > 0 && (o->n_images > 0 || !o->n_stats);
}

/* --- what is printed -------------------------------------------------------------------------- */

static void print_output(const q8_verify_output *out)
{
    char name[256];
    q8_printable(out->name, name, sizeof(name));
    printf("  %s:", name);
    if (!isnan(out->agreement))
        printf(" same class %.2f %%,", 100 * out->agreement);
    if (!isnan(out->kl))
        printf(" KL %.5f,", out->kl);
    printf(" cosine %.6f, SQNR %.1f dB\n", out->cosine, out->sqnr);
}

static const q8_verify_result *sorting;

static int by_own_error(const void *a, const void *b)
{
    const size_t i = *(const size_t *)a, k = *(const size_t *)b;
    const double x = sorting->layer[i].alone_sqnr, y = sorting->layer[k].alone_sqnr;
    return x != y ? (x > y) - (x < y) : (i > k) - (i < k);
}

/* Int8 layers that were measured, the one that loses most by itself first: what a layer's output
 * has lost in the network says more about the layers before it. @return how many */
static size_t rank_layers(const q8_verify_result *r, size_t *rank)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_layers; i++)
        if (r->layer[i].int8 && !isnan(r->layer[i].alone_sqnr))
            rank[n++] = i;
    sorting = r;
    qsort(rank, n, sizeof(*rank), by_own_error);
    return n;
}

static void set_row(struct table *table, size_t row, const q8_verify_layer *layer)
{
    table_set(table, row, 0, "%s", layer->name);
    table_set(table, row, 1, "%s", layer->type);
    table_set(table, row, 2, "%.1f", layer->alone_sqnr);
    table_set(table, row, 3, "%.1f", layer->sqnr);
    table_set(table, row, 4, "%.6f", layer->cosine);
    table_set(table, row, 5, "%.3f %%", 100 * layer->saturation);
}

static void print_layers(const q8_verify_result *r)
{
    static const struct column columns[] = {
        {.title = "losing most", .give_way = CUT_MIDDLE, .narrowest = 12},
        {.title = "type", .give_way = CUT_END, .narrowest = 8, .droppable = true},
        {.title = "alone dB", .right = true, .give_way = CUT_NEVER},
        {.title = "in the net dB", .right = true, .give_way = CUT_NEVER},
        {.title = "cosine", .right = true, .give_way = CUT_NEVER},
        {.title = "input cut off", .right = true, .give_way = CUT_NEVER},
    };
    size_t *rank = calloc(r->n_layers + 1, sizeof(*rank));
    if (!rank)
        return;
    const size_t found = rank_layers(r, rank), n = found < WORST_LAYERS ? found : WORST_LAYERS;
    struct table *table = table_open(columns, sizeof(columns) / sizeof(columns[0]), n);
    for (size_t i = 0; table && i < n; i++)
        set_row(table, i, &r->layer[rank[i]]);
    if (table && n > 0)
        table_print(table, terminal_width(stdout), stdout);
    table_close(&table);
    free(rank);
}

void verify_print(const q8_verify_result *r, const struct options *o)
{
    const char *which = r->unseen    ? "that calibration did not use"
                        : o->n_stats ? "of --images"
                                     : "of those calibrated on";
    print_layers(r);
    printf("int8 against float on %zu pictures %s:\n", r->used, which);
    for (size_t i = 0; i < r->n_outputs; i++)
        print_output(&r->output[i]);
    if (r->labelled)
        printf("  right on %zu pictures with a label: float %.2f %%, int8 %.2f %%\n", r->labelled,
               100 * r->float_accuracy, 100 * r->int8_accuracy);
}
