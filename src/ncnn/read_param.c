/* The structure of a network from a .param text. */
#include "ncnn/read.h"

#include <stdio.h>
#include <string.h>

#include "ncnn/attr.h"
#include "ncnn/names.h"
#include "ncnn/number.h"

static const char magic[] = "7767517";

/* --- words and lines -------------------------------------------------------------------------- */

/* One line and how far it was read. */
struct line {
    const char *start, *p, *end;
    int number;
};

struct text {
    const char *p, *end;
    int line; /* lines so far */
    const char *file;
};

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The next line that has a word on it. */
static bool next_line(struct text *text, struct line *line)
{
    while (text->p < text->end) {
        const char *stop = memchr(text->p, '\n', (size_t)(text->end - text->p));
        if (!stop)
            stop = text->end;
        *line = (struct line){text->p, text->p, stop, ++text->line};
        text->p = stop < text->end ? stop + 1 : stop;
        while (line->p < stop && is_space(*line->p))
            line->p++;
        if (line->p < stop)
            return true;
    }
    return false;
}

/* The next word of the line. Without one, the place behind the line's last. */
static bool next_word(struct line *line, const char *file, q8_word *word)
{
    while (line->p < line->end && is_space(*line->p))
        line->p++;
    const char *start = line->p;
    while (line->p < line->end && !is_space(*line->p))
        line->p++;
    *word =
        (q8_word){start,
                  (size_t)(line->p - start),
                  {.file = file, .line = line->number, .column = (int)(start - line->start) + 1}};
    return word->size > 0;
}

/* --- reading a layer's line ------------------------------------------------------------------- */

struct reader {
    q8_graph *graph;
    const char *file;
    q8_name_map *blobs; /* name -> tensor */
    int *state;         /* by tensor: how often it was read */
    q8_err *err;
};

static q8_code expected(const struct reader *r, const q8_word *word, const char *what)
{
    if (word->size == 0)
        return q8_fail(r->err, Q8_EFORMAT, &word->loc, NULL, "%s expected, not the line's end",
                       what);
    return q8_fail(r->err, Q8_EFORMAT, &word->loc, NULL, "%s expected, not '%.*s'", what,
                   q8_word_shown(word), word->text);
}

static q8_code read_count(const struct reader *r, struct line *line, const char *what, int *count)
{
    q8_word word;
    next_word(line, r->file, &word);
    if (!q8_ncnn_parse_int(word.text, word.size, count) || *count < 0)
        return expected(r, &word, what);
    return Q8_OK;
}

/* A word as a string of the arena; ncnn's limit on names holds. */
static q8_code read_name(const struct reader *r, struct line *line, const char *what, q8_word *word,
                         const char **name)
{
    if (!next_word(line, r->file, word))
        return expected(r, word, what);
    if (word->size > Q8_NCNN_NAME_MAX)
        return q8_fail(r->err, Q8_EFORMAT, &word->loc, NULL,
                       "a name of %zu bytes: ncnn reads at most %d", word->size, Q8_NCNN_NAME_MAX);
    for (size_t i = 0; i < word->size; i++)
        if ((unsigned char)word->text[i] < ' ' || word->text[i] == 0x7f)
            return q8_fail(r->err, Q8_EFORMAT, &word->loc, NULL, "a control character in a name");
    char *copy = q8_arena_alloc(r->graph->arena, word->size + 1);
    if (!copy)
        return q8_fail_nomem(r->err);
    memcpy(copy, word->text, word->size);
    *name = copy;
    return Q8_OK;
}

static q8_code read_input(struct reader *r, struct line *line, q8_node *node, int index)
{
    q8_word word;
    const char *name = NULL;
    q8_code code = read_name(r, line, "the name of an input blob", &word, &name);
    if (code)
        return code;
    const int *tensor = q8_name_map_find(r->blobs, name);
    if (!tensor)
        return q8_fail(r->err, Q8_EFORMAT, &word.loc, node->name,
                       "blob '%s' is not made by a layer before this one", name);
    if (r->state[*tensor]++)
        return q8_fail(r->err, Q8_EFORMAT, &word.loc, node->name,
                       "blob '%s' is read a second time, which needs a Split layer", name);
    node->in[index] = *tensor;
    return Q8_OK;
}

static q8_code read_output(struct reader *r, struct line *line, q8_node *node, int index)
{
    q8_word word;
    const char *name = NULL;
    q8_code code = read_name(r, line, "the name of an output blob", &word, &name);
    if (code)
        return code;
    if (q8_name_map_find(r->blobs, name))
        return q8_fail(r->err, Q8_EFORMAT, &word.loc, node->name, "blob '%s' is made a second time",
                       name);
    const size_t n = (size_t)r->graph->n_tensors;
    r->state = q8_arena_grow(r->graph->arena, r->state, n, sizeof(*r->state));
    node->out[index] = q8_graph_add_tensor(r->graph, name, NULL);
    if (!r->state || node->out[index] < 0 || !q8_name_map_add(r->blobs, name, node->out[index]))
        return q8_fail_nomem(r->err);
    r->state[n] = 0;
    return Q8_OK;
}

/* Defaults first; those that are another key's value are taken once all keys are known. */
static q8_code read_params(struct reader *r, struct line *line, q8_node *node)
{
    const q8_op *op = node->op;
    uint32_t seen = 0;
    q8_word word;
    for (int i = 0; i < op->n_fields; i++)
        q8_field_reset(op, &op->fields[i], node->attr);
    while (next_word(line, r->file, &word)) {
        q8_code code = q8_ncnn_read_value(node, &word, r->graph->arena, &seen, r->err);
        if (code)
            return code;
    }
    for (int i = 0; i < op->n_fields; i++)
        if (op->fields[i].same_as >= 0 && !(seen & UINT32_C(1) << op->fields[i].key))
            q8_field_reset(op, &op->fields[i], node->attr);
    bool plain = true;
    for (int i = 0; i < op->n_fields; i++)
        plain = plain && q8_field_is_default(op, &op->fields[i], node->attr);
    if (op->max_in == 0 && plain)
        return q8_fail(r->err, Q8_EMODEL, &node->loc, node->name,
                       "the input's size is missing: add 0=width 1=height 2=channels");
    return Q8_OK;
}

static q8_code read_layer(struct reader *r, struct line *line)
{
    q8_word word;
    const char *type = NULL, *name = NULL;
    int n_in = 0, n_out = 0;
    q8_code code = read_name(r, line, "a layer type", &word, &type);
    const q8_loc loc = word.loc;
    if (!code)
        code = read_name(r, line, "a layer name", &word, &name);
    if (!code)
        code = read_count(r, line, "the number of inputs", &n_in);
    if (!code)
        code = read_count(r, line, "the number of outputs", &n_out);
    if (code)
        return code;
    /* Each name takes a blank and a byte: no array is made for more than the line can hold. */
    if ((size_t)n_in + (size_t)n_out > (size_t)(line->end - line->p) / 2)
        return q8_fail(r->err, Q8_EFORMAT, &loc, name,
                       "%d inputs and %d outputs, but the line ends", n_in, n_out);
    q8_node *node = q8_node_new(r->graph->arena, q8_op_by_type(type), name, n_in, n_out);
    if (!node || !q8_graph_insert(r->graph, node, r->graph->n_nodes))
        return q8_fail_nomem(r->err);
    node->loc = loc;
    for (int i = 0; i < n_in && !code; i++)
        code = read_input(r, line, node, i);
    for (int i = 0; i < n_out && !code; i++)
        code = read_output(r, line, node, i);
    if (!code)
        code = read_params(r, line, node);
    return code ? code : q8_infer_node(r->graph, node, r->err);
}

/* --- the file --------------------------------------------------------------------------------- */

static bool is_known_type(const q8_word *word)
{
    char type[Q8_NCNN_NAME_MAX + 1];
    if (word->size >= sizeof(type))
        return false;
    memcpy(type, word->text, word->size);
    type[word->size] = '\0';
    return q8_op_by_type(type) != NULL;
}

/* All layers of unknown type in one message, each with its line, before anything else is read. */
static q8_code check_types(const struct reader *r, struct text text)
{
    enum { ENTRY = 192, ROOM = 32 }; /* at most, for one layer; for the last words */
    char list[sizeof(r->err->text) - 256];
    size_t used = 0;
    int unknown = 0, shown = 0;
    q8_loc first = {0};
    struct line line;
    list[0] = '\0';
    while (next_line(&text, &line)) {
        q8_word type, name;
        next_word(&line, r->file, &type);
        next_word(&line, r->file, &name);
        if (is_known_type(&type))
            continue;
        if (unknown++ == 0)
            first = type.loc;
        if (used + ENTRY + ROOM > sizeof(list))
            continue;
        used += (size_t)snprintf(list + used, sizeof(list) - used, "\n  line %d: %.*s '%.*s'",
                                 line.number, q8_word_shown(&type), type.text, q8_word_shown(&name),
                                 name.text);
        shown++;
    }
    if (unknown > shown)
        snprintf(list + used, sizeof(list) - used, "\n  and %d more", unknown - shown);
    return unknown ? q8_fail(r->err, Q8_EUNSUPPORTED, &first, NULL,
                             "%d layer%s of a type that this program does not have:%s", unknown,
                             unknown > 1 ? "s" : "", list)
                   : Q8_OK;
}

static q8_code read_header(const struct reader *r, struct text *text, int *n_layers, int *n_blobs)
{
    struct line line = {.number = 1};
    q8_word word;
    if (!next_line(text, &line) || !next_word(&line, r->file, &word) ||
        word.size != strlen(magic) || memcmp(word.text, magic, word.size) != 0) {
        const q8_loc loc = {r->file, line.number, 1};
        return q8_fail(r->err, Q8_EFORMAT, &loc, NULL,
                       "not an ncnn param file in text form: the first line must be %s", magic);
    }
    if (next_word(&line, r->file, &word))
        return expected(r, &word, "the line's end");
    if (!next_line(text, &line))
        line = (struct line){text->end, text->end, text->end, text->line + 1};
    q8_code code = read_count(r, &line, "the number of layers", n_layers);
    if (!code)
        code = read_count(r, &line, "the number of blobs", n_blobs);
    if (!code && next_word(&line, r->file, &word))
        code = expected(r, &word, "the line's end");
    return code;
}

/* The network's outputs are the tensors that nothing reads. */
static q8_code find_outputs(const struct reader *r)
{
    q8_graph *graph = r->graph;
    graph->output = q8_arena_array(graph->arena, (size_t)graph->n_tensors, sizeof(int));
    if (!graph->output)
        return q8_fail_nomem(r->err);
    for (int t = 0; t < graph->n_tensors; t++)
        if (!r->state[t])
            graph->output[graph->n_outputs++] = t;
    return Q8_OK;
}

q8_code q8_ncnn_read_param(q8_graph *graph, const char *name, const char *text, size_t size,
                           q8_err *err)
{
    struct reader r = {.graph = graph, .file = name, .err = err};
    struct text lines = {text, text + size, 0, name};
    struct line line;
    int n_layers = 0, n_blobs = 0;
    r.blobs = q8_name_map_new(graph->arena);
    if (!r.blobs)
        return q8_fail_nomem(err);
    q8_code code = read_header(&r, &lines, &n_layers, &n_blobs);
    const q8_loc counts = {name, lines.line, 1};
    if (!code)
        code = check_types(&r, lines);
    while (!code && next_line(&lines, &line))
        code = read_layer(&r, &line);
    if (code)
        return code;
    if (n_layers != graph->n_nodes || n_blobs != graph->n_tensors)
        return q8_fail(err, Q8_EFORMAT, &counts, NULL,
                       "%d layers and %d blobs are announced, but there are %d and %d", n_layers,
                       n_blobs, graph->n_nodes, graph->n_tensors);
    if (graph->n_nodes == 0)
        return q8_fail(err, Q8_EFORMAT, &counts, NULL, "a network without layers");
    return find_outputs(&r);
}
