/* `key=value` of a .param line, by the layer table. */
#include "ncnn/read.h"

#include <string.h>

#include "ncnn/attr.h"
#include "ncnn/number.h"

int q8_word_shown(const q8_word *word)
{
    enum { MOST = 64 };
    return word->size > MOST ? MOST : (int)word->size;
}

/* What is left of a word while it is taken apart. */
struct rest {
    const q8_word *word;
    const char *p, *end;
};

/* The next piece up to a comma (or the end), which is taken too. False when nothing is left. */
static bool next_piece(struct rest *rest, const char **piece, size_t *size)
{
    if (rest->p >= rest->end)
        return false;
    const char *comma = memchr(rest->p, ',', (size_t)(rest->end - rest->p));
    const char *stop = comma ? comma : rest->end;
    *piece = rest->p;
    *size = (size_t)(stop - rest->p);
    rest->p = comma ? comma + 1 : rest->end;
    return true;
}

static q8_code fail_at(const struct rest *rest, const q8_node *node, const char *at, q8_err *err,
                       const char *what)
{
    q8_loc loc = rest->word->loc;
    loc.column += (int)(at - rest->word->text);
    return q8_fail(err, Q8_EFORMAT, &loc, node->name, "%s: '%.*s'", what, q8_word_shown(rest->word),
                   rest->word->text);
}

static q8_code read_int(const struct rest *rest, const q8_node *node, const char *text, size_t size,
                        int *value, q8_err *err)
{
    if (!q8_ncnn_parse_int(text, size, value))
        return fail_at(rest, node, text, err, "an int was expected");
    return Q8_OK;
}

/* @param as_float the list's first number was a float, so ncnn takes this one for a float too */
static q8_code read_float(const struct rest *rest, const q8_node *node, const char *text,
                          size_t size, bool as_float, float *value, q8_err *err)
{
    int zero;
    if (as_float || q8_ncnn_is_float(text, size)) {
        if (!q8_ncnn_parse_float(text, size, value))
            return fail_at(rest, node, text, err,
                           "not a number that ncnn can read (at most 15 characters, 9 decimals)");
        return Q8_OK;
    }
    /* ncnn would take the bits of an int for those of a float. Only 0 is the same in both. */
    if (!q8_ncnn_parse_int(text, size, &zero) || zero != 0)
        return fail_at(rest, node, text, err, "a float was expected, with a '.' or an 'e'");
    *value = 0;
    return Q8_OK;
}

static int count_pieces(const struct rest *rest)
{
    struct rest copy = *rest;
    const char *piece;
    size_t size;
    int n = 0;
    while (next_piece(&copy, &piece, &size))
        n++;
    return n;
}

static q8_code read_list(struct rest *rest, q8_node *node, const q8_field *field, bool counted,
                         q8_arena *arena, q8_err *err)
{
    const int n = count_pieces(rest);
    int *ints = NULL;
    float *floats = NULL;
    if (field->kind == Q8_INTS)
        ints = q8_arena_array(arena, (size_t)n, sizeof(*ints));
    else
        floats = q8_arena_array(arena, (size_t)n, sizeof(*floats));
    if (!ints && !floats)
        return q8_fail_nomem(err);
    const char *piece = rest->p;
    size_t size = 0;
    bool as_float = false;
    q8_code code = Q8_OK;
    for (int i = 0; i < n && !code; i++) {
        next_piece(rest, &piece, &size);
        if (ints) {
            code = read_int(rest, node, piece, size, &ints[i], err);
            continue;
        }
        as_float = as_float || (!counted && i == 0 && q8_ncnn_is_float(piece, size));
        code = read_float(rest, node, piece, size, as_float, &floats[i], err);
    }
    if (ints)
        *q8_field_ints(field, node->attr) = (q8_ints){n, ints};
    else
        *q8_field_floats(field, node->attr) = (q8_floats){n, floats};
    return code;
}

/* -23300-key=count,v0,v1,... */
static q8_code read_counted_list(struct rest *rest, q8_node *node, const q8_field *field,
                                 q8_arena *arena, q8_err *err)
{
    const char *piece = rest->p;
    size_t size = 0;
    int count;
    if (!next_piece(rest, &piece, &size) || !q8_ncnn_parse_int(piece, size, &count) || count < 0)
        return fail_at(rest, node, piece, err, "the list's count was expected");
    if (count != count_pieces(rest) || rest->end[-1] == ',')
        return fail_at(rest, node, piece, err, "the list's count is not that of its numbers");
    return read_list(rest, node, field, true, arena, err);
}

/* The value of a key without a count: a number, or a list with at least one comma. */
static q8_code read_plain(struct rest *rest, q8_node *node, const q8_field *field, q8_arena *arena,
                          q8_err *err)
{
    const char *text = rest->p;
    const size_t size = (size_t)(rest->end - text);
    const bool list = memchr(text, ',', size) != NULL;
    if (field->kind == Q8_INT)
        return read_int(rest, node, text, size, q8_field_int(field, node->attr), err);
    if (field->kind == Q8_FLOAT)
        return read_float(rest, node, text, size, false, q8_field_float(field, node->attr), err);
    if (!list)
        return fail_at(rest, node, text, err, "a list was expected, not one number");
    return read_list(rest, node, field, false, arena, err);
}

/* Splits `key=`; a negative key of a list becomes the key itself. */
static q8_code read_key(struct rest *rest, const q8_node *node, int *key, bool *counted,
                        q8_err *err)
{
    const char *text = rest->p;
    const char *equals = memchr(text, '=', (size_t)(rest->end - text));
    if (!equals || !q8_ncnn_parse_int(text, (size_t)(equals - text), key))
        return fail_at(rest, node, text, err, "key=value was expected");
    *counted = *key <= Q8_NCNN_ARRAY_KEY && *key > Q8_NCNN_ARRAY_KEY - Q8_NCNN_KEYS;
    if (*counted)
        *key = Q8_NCNN_ARRAY_KEY - *key;
    if (*key < 0 || *key >= Q8_NCNN_KEYS)
        return fail_at(rest, node, text, err, "a key must be 0 to 31");
    rest->p = equals + 1;
    return Q8_OK;
}

q8_code q8_ncnn_read_value(q8_node *node, const q8_word *word, q8_arena *arena, uint32_t *seen,
                           q8_err *err)
{
    struct rest rest = {word, word->text, word->text + word->size};
    int key;
    bool counted;
    q8_code code = read_key(&rest, node, &key, &counted, err);
    if (code)
        return code;
    if (*seen & UINT32_C(1) << key)
        return fail_at(&rest, node, word->text, err, "the key was given before");
    *seen |= UINT32_C(1) << key;
    if (key == Q8_NCNN_KEY_SHAPE_HINT || key == Q8_NCNN_KEY_FEATURES)
        return Q8_OK; /* hints for ncnn that leave the layer's function as it is */
    const q8_field *field = q8_field_by_key(node->op, key);
    if (!field)
        return q8_fail(err, Q8_EUNSUPPORTED, &word->loc, node->name,
                       "%s has no parameter %d that this program knows", node->op->type, key);
    const bool list = field->kind == Q8_INTS || field->kind == Q8_FLOATS;
    if (counted && !list)
        return fail_at(&rest, node, word->text, err, "one number was expected, not a list");
    return counted ? read_counted_list(&rest, node, field, arena, err)
                   : read_plain(&rest, node, field, arena, err);
}
