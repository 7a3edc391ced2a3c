#include "reach.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* As many pictures as agreement needs to be told to about half a per cent. */
enum { PICTURES = 200 };

/* The names and the list of them are one block, with the names behind the list. */
q8_code keep_float_split(q8_quant_opts *quant, const char *names, q8_err *err)
{
    quant->keep_float = NULL;
    quant->n_keep_float = 0;
    if (!names)
        return Q8_OK;
    const size_t length = strlen(names), most = length / 2 + 1;
    const char **list = malloc(most * sizeof(*list) + length + 1);
    if (!list) {
        err->code = Q8_ENOMEM;
        snprintf(err->text, sizeof(err->text), "out of memory");
        return Q8_ENOMEM;
    }
    char *rest = (char *)(list + most), *name;
    memcpy(rest, names, length + 1);
    while ((name = strsep(&rest, ",")))
        if (*name)
            list[quant->n_keep_float++] = name;
    quant->keep_float = list;
    return Q8_OK;
}

void keep_float_free(q8_quant_opts *quant)
{
    free((void *)quant->keep_float);
    quant->keep_float = NULL;
}

bool reach_is_asked(const struct options *o)
{
    return o->max_kl > 0 || o->min_cosine > 0 || o->min_agreement > 0;
}

q8_code reach_run(q8_reach_result *result, q8_model *model, const struct options *o,
                  const q8_quant_opts *quant, const q8_calib_opts *calib,
                  const q8_calib_result *calibrated, const q8_env *env, q8_err *err)
{
    const q8_goals goals = {.max_kl = (double)o->max_kl,
                            .min_cosine = (double)o->min_cosine,
                            .min_agreement = (double)o->min_agreement / 100};
    q8_verify_opts on = {.pictures = *calib,
                         .calibrated_on = calibrated->used + calibrated->skipped};
    on.pictures.limit = PICTURES;
    if (calibrated->used == 0) /* no layer could be int8, and no picture was looked at */
        return q8_quantize(model, quant, env, err);
    return q8_reach(model, quant, &on, &goals, env, result, err);
}

static void set_row(struct table *table, size_t row, const q8_trade_off *at, bool chosen)
{
    table_set(table, row, 0, "%zu", at->n_float);
    table_set(table, row, 1, "%.1f %%", 100 * at->int8_share);
    if (!isnan(at->kl))
        table_set(table, row, 2, "%.5f", at->kl);
    if (!isnan(at->agreement))
        table_set(table, row, 3, "%.2f %%", 100 * at->agreement);
    table_set(table, row, 4, "%.6f", at->cosine);
    if (chosen)
        table_set(table, row, 5, "chosen");
}

static void print_curve(const q8_reach_result *r)
{
    static const struct column columns[] = {
        {.title = "float layers", .right = true, .give_way = CUT_NEVER},
        {.title = "MACs in int8", .right = true, .give_way = CUT_NEVER},
        {.title = "KL", .right = true, .give_way = CUT_NEVER},
        {.title = "same class", .right = true, .give_way = CUT_NEVER},
        {.title = "cosine", .right = true, .give_way = CUT_NEVER},
        {.title = "", .give_way = CUT_NEVER},
    };
    struct table *table = table_open(columns, sizeof(columns) / sizeof(columns[0]), r->n_curve);
    for (size_t i = 0; table && i < r->n_curve; i++)
        set_row(table, i, &r->curve[i], i == r->chosen);
    if (table)
        table_print(table, terminal_width(stdout), stdout);
    table_close(&table);
    printf("measured on %zu pictures\n", r->used);
}

void reach_print(const q8_reach_result *result, const struct options *o)
{
    if (result->n_curve == 0)
        return;
    if (!o->quiet)
        print_curve(result);
    if (result->met)
        return;
    const q8_trade_off *at = &result->curve[result->chosen];
    fprintf(stderr,
            "warning: the accuracy asked for is out of reach on %zu pictures; the model "
            "written has",
            result->used);
    if (!isnan(at->kl))
        fprintf(stderr, " KL %.5f,", at->kl);
    if (!isnan(at->agreement))
        fprintf(stderr, " agreement %.2f %%,", 100 * at->agreement);
    fprintf(stderr, " cosine %.6f\n", at->cosine);
}
