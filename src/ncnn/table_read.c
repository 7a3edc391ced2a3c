/* A table's text, line by line, and what it says about a network's layers. */
#include <math.h>
#include <string.h>

#include "ncnn/names.h"
#include "ncnn/read.h"
#include "ncnn/table.h"

/* What stands on a line. */
struct entry {
    const char *key;
    q8_loc loc;
    const float *scale;
    int n;
};

struct q8_table {
    const char *name;
    struct entry *entry;
    int n;
    q8_name_map *by_key; /* number of the entry */
};

/* --- text ------------------------------------------------------------------------------------- */

struct text {
    const char *p, *end, *line_start;
    int line;
    const char *file;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Goes to the start of the next line. False at the end. */
static bool next_line(struct text *t)
{
    if (t->line > 0) {
        const char *stop = memchr(t->p, '\n', (size_t)(t->end - t->p));
        t->p = stop ? stop + 1 : t->end;
    }
    t->line_start = t->p;
    t->line++;
    return t->p < t->end;
}

/* The next word of the line; false where it has none. */
static bool next_word(struct text *t, q8_word *word)
{
    while (t->p < t->end && is_space(*t->p))
        t->p++;
    const char *start = t->p;
    while (t->p < t->end && !is_space(*t->p) && *t->p != '\n')
        t->p++;
    *word =
        (q8_word){start,
                  (size_t)(t->p - start),
                  {.file = t->file, .line = t->line, .column = (int)(start - t->line_start) + 1}};
    return word->size > 0;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits with a point somewhere; `power` is the decimal exponent of the last that was kept. */
static bool take_digits(const char **p, const char *end, uint64_t *value, int *power)
{
    bool any = false, fraction = false;
    for (; *p < end && (is_digit(**p) || (**p == '.' && !fraction)); (*p)++) {
        if (**p == '.') {
            fraction = true;
            continue;
        }
        any = true;
        const bool kept = *value < 100000000000000000u; /* 18 digits, more than a float tells */
        if (kept)
            *value = *value * 10 + (uint64_t)(**p - '0');
        *power += kept ? (fraction ? -1 : 0) : (fraction ? 0 : 1);
    }
    return any;
}

static bool take_exponent(const char **p, const char *end, int *power)
{
    if (*p == end || (**p != 'e' && **p != 'E'))
        return true;
    (*p)++;
    const bool negative = *p < end && **p == '-';
    if (*p < end && (**p == '-' || **p == '+'))
        (*p)++;
    if (*p == end)
        return false;
    int exponent = 0;
    for (; *p < end && is_digit(**p); (*p)++)
        if (exponent < 10000)
            exponent = exponent * 10 + (**p - '0');
    *power += negative ? -exponent : exponent;
    return true;
}

/* A number in any locale, also "inf" and "nan", which printf() makes of scales gone wrong. */
static bool parse_number(const q8_word *word, float *value)
{
    const char *p = word->text, *const end = p + word->size;
    const bool negative = p < end && *p == '-';
    uint64_t digits = 0;
    int power = 0;
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (end - p == 3 && (memcmp(p, "inf", 3) == 0 || memcmp(p, "nan", 3) == 0)) {
        *value = *p == 'n' ? NAN : negative ? -INFINITY : INFINITY;
        return true;
    }
    if (!take_digits(&p, end, &digits, &power) || !take_exponent(&p, end, &power) || p != end)
        return false;
    double x = (double)digits;
    for (; power > 0 && x < 1e300 && x > 0; power--)
        x *= 10;
    double divisor = 1;
    for (; power < 0 && divisor < 1e300; power++)
        divisor *= 10;
    x = power < 0 ? 0 : x / divisor;
    *value = (float)(negative ? -x : x);
    return true;
}

/* --- entries ---------------------------------------------------------------------------------- */

static q8_code read_key(struct entry *entry, const q8_word *word, const q8_table *table,
                        q8_arena *arena, q8_err *err)
{
    char *key = q8_arena_alloc(arena, word->size + 1);
    if (!key)
        return q8_fail_nomem(err);
    memcpy(key, word->text, word->size);
    for (size_t i = 0; i < word->size; i++)
        if ((unsigned char)key[i] < ' ' || key[i] == 0x7f)
            return q8_fail(err, Q8_EFORMAT, &word->loc, NULL, "a control character in a name");
    if (q8_name_map_find(table->by_key, key))
        return q8_fail(err, Q8_EFORMAT, &word->loc, NULL, "'%.*s' a second time",
                       q8_word_shown(word), word->text);
    *entry = (struct entry){.key = key, .loc = word->loc};
    return Q8_OK;
}

static q8_code read_entry(q8_table *table, struct text *text, const q8_word *key, q8_arena *arena,
                          q8_err *err)
{
    struct entry entry;
    float *scale = NULL;
    q8_word word;
    q8_code code = read_key(&entry, key, table, arena, err);
    while (!code && next_word(text, &word)) {
        float value;
        if (!parse_number(&word, &value))
            return q8_fail(err, Q8_EFORMAT, &word.loc, NULL, "'%.*s' is not a number",
                           q8_word_shown(&word), word.text);
        scale = q8_arena_grow(arena, scale, (size_t)entry.n, sizeof(*scale));
        if (!scale)
            return q8_fail_nomem(err);
        scale[entry.n++] = value;
    }
    if (!code && entry.n == 0)
        return q8_fail(err, Q8_EFORMAT, &word.loc, NULL, "'%.*s' without a scale",
                       q8_word_shown(key), key->text);
    if (code)
        return code;
    entry.scale = scale;
    table->entry = q8_arena_grow(arena, table->entry, (size_t)table->n, sizeof(*table->entry));
    if (!table->entry || !q8_name_map_add(table->by_key, entry.key, table->n))
        return q8_fail_nomem(err);
    table->entry[table->n++] = entry;
    return Q8_OK;
}

q8_code q8_table_read(q8_table **table, const char *name, const char *text, size_t size,
                      q8_arena *arena, q8_err *err)
{
    struct text t = {.p = text, .end = text + size, .file = name};
    q8_code code = Q8_OK;
    q8_word key;
    *table = q8_arena_alloc(arena, sizeof(**table));
    if (!*table || !((*table)->by_key = q8_name_map_new(arena)))
        return q8_fail_nomem(err);
    (*table)->name = name;
    while (!code && next_line(&t))
        if (next_word(&t, &key) && key.text[0] != '#')
            code = read_entry(*table, &t, &key, arena, err);
    return code;
}

/* --- layers ----------------------------------------------------------------------------------- */

static const struct entry *find(const q8_table *table, const char *key)
{
    const int *index = q8_name_map_find(table->by_key, key);
    return index ? &table->entry[*index] : NULL;
}

static bool is_usable(float scale)
{
    return scale > 0 && scale < INFINITY;
}

/* Are all weights of scale `index` of `n` 0? */
static bool is_zero(const q8_node *node, size_t n, size_t index)
{
    const size_t row = node->weight[0].count / n;
    const float *weight = node->weight[0].data + index * row;
    for (size_t i = 0; i < row; i++)
        if (weight[i] != 0)
            return false;
    return true;
}

/* The entry's weight scales, NULL if one cannot be used. */
static q8_code take_weights(q8_given *given, const struct entry *entry, const q8_node *node,
                            size_t n, q8_arena *arena, q8_err *err)
{
    if ((size_t)entry->n != n)
        return q8_fail(err, Q8_EMODEL, &entry->loc, node->name,
                       "%d weight scales where the layer has %zu", entry->n, n);
    float *scale = q8_arena_array(arena, n, sizeof(*scale));
    if (!scale)
        return q8_fail_nomem(err);
    for (size_t k = 0; k < n; k++) {
        scale[k] = entry->scale[k];
        if (is_usable(scale[k]))
            continue;
        if (!is_zero(node, n, k))
            given->float_reason = "a weight scale in the table is not above 0 and finite";
        scale[k] = 1;
    }
    given->weight_scales = scale;
    return Q8_OK;
}

static q8_code take_input(q8_given *given, const struct entry *entry, const q8_node *node,
                          q8_err *err)
{
    if (entry->n != 1)
        return q8_fail(err, Q8_EMODEL, &entry->loc, node->name,
                       "%d scales for the layer's input, which has one", entry->n);
    given->bottom_scale = entry->scale[0];
    if (!is_usable(entry->scale[0]))
        given->float_reason = "its input's scale in the table is not above 0 and finite";
    return Q8_OK;
}

/* What was found so far. */
struct matching {
    const q8_table *table;
    int layers, missing; /* that can run in int8 */
    int used;            /* entries */
    const char *first_missing;
};

static q8_code match_layer(struct matching *m, q8_given *given, q8_graph *graph, int index,
                           const char *name, const q8_env *env, q8_err *err)
{
    const q8_node *node = graph->node[index];
    const size_t n = q8_quant_scales(graph, node);
    if (n == 0)
        return Q8_OK;
    const char *weight_key = q8_arena_printf(graph->arena, "%s_param_0", name);
    if (!weight_key)
        return q8_fail_nomem(err);
    const struct entry *weights = find(m->table, weight_key), *input = find(m->table, name);
    q8_code code = Q8_OK;
    m->layers++;
    m->used += (weights != NULL) + (input != NULL);
    if (weights && input) {
        code = take_weights(given, weights, node, n, graph->arena, err);
        if (!code)
            code = take_input(given, input, node, err);
        if (!code && given->float_reason)
            q8_warn(env, &input->loc, node->name, "stays float: %s", given->float_reason);
        return code;
    }
    given->float_reason = weights ? "the table has no scale for its input"
                          : input ? "the table has no scales for its weights"
                                  : "the table does not name it";
    if (m->missing++ == 0)
        m->first_missing = node->name;
    return Q8_OK;
}

static void report(const struct matching *m, const q8_env *env)
{
    const q8_loc loc = {.file = m->table->name};
    if (m->missing == 1)
        q8_note(env, &loc, m->first_missing, "not in the table with both its scales: stays float");
    else if (m->missing > 1)
        q8_note(env, &loc, m->first_missing,
                "this and %d more layers are not in the table with both their scales: they stay "
                "float",
                m->missing - 1);
    if (m->used < m->table->n)
        q8_warn(env, &loc, NULL,
                "%d of %d lines are not used: they name no int8 layer of this "
                "network",
                m->table->n - m->used, m->table->n);
}

q8_code q8_table_scales(q8_given *given, const q8_table *table, q8_graph *graph, const q8_env *env,
                        q8_err *err)
{
    struct matching m = {.table = table};
    q8_ncnn_names names;
    q8_code code = q8_ncnn_names_make(graph, &names, err);
    for (int i = 0; i < graph->n_nodes && !code; i++) {
        given[i] = (q8_given){.bottom_scale = 1};
        code = match_layer(&m, &given[i], graph, i, names.node[i], env, err);
    }
    const q8_loc loc = {.file = table->name};
    if (!code && m.layers > 0 && m.used == 0)
        code = q8_fail(err, Q8_EMODEL, &loc, NULL, "the table names no layer of this network");
    if (!code)
        report(&m, env);
    return code;
}
