#include "caffe/text.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "caffe.pb-c.h"
#include "caffe/lex.h"
#include "caffe/value.h"

enum {
    MAX_SCALAR_PLACES = 256, /* of one repeated scalar; weights in text would fill the table */
    MAX_UNKNOWN = 100,       /* different unknown fields that are named */
};

/* An unknown field that was warned about. */
struct unknown {
    const ProtobufCMessageDescriptor *type;
    const char *name;
    size_t size;
};

struct parser {
    q8_lexer lex;
    q8_places *places;
    q8_arena *arena;
    const q8_env *env;
    q8_err *err;
    int depth, n_messages;
    struct unknown unknown[MAX_UNKNOWN];
    int n_unknown;
};

typedef const ProtobufCFieldDescriptor field;

static q8_code parse_fields(struct parser *p, ProtobufCMessage *message, const char *name,
                            char close, q8_loc opening);

static q8_code syntax_error(struct parser *p, const char *expected)
{
    char text[64];
    return q8_fail(p->err, Q8_EFORMAT, &p->lex.token.loc, NULL, "expected %s, not %s", expected,
                   q8_token_text(&p->lex.token, text));
}

static q8_code enter(struct parser *p)
{
    if (p->depth >= Q8_MAX_DEPTH)
        return q8_fail(p->err, Q8_EFORMAT, &p->lex.token.loc, NULL,
                       "nested more than %d deep (Q8_MAX_DEPTH in src/base/limits.h)",
                       Q8_MAX_DEPTH);
    p->depth++;
    return Q8_OK;
}

/* '{' or '<': moves past it. @return the character that closes it, 0 when there is none */
static char open_message(struct parser *p, q8_code *code)
{
    const char close = q8_lex_is(&p->lex, '{') ? '}' : q8_lex_is(&p->lex, '<') ? '>' : 0;
    if (close)
        *code = q8_lex_next(&p->lex);
    return close;
}

/* Past a list's '['; when it is empty, past its ']' too. */
static q8_code begin_list(struct parser *p, bool *more)
{
    const q8_code code = q8_lex_next(&p->lex);
    *more = !q8_lex_is(&p->lex, ']');
    return code || *more ? code : q8_lex_next(&p->lex);
}

/* Past the ',' or ']' after an item. */
static q8_code next_in_list(struct parser *p, bool *more)
{
    *more = q8_lex_is(&p->lex, ',');
    if (!*more && !q8_lex_is(&p->lex, ']'))
        return syntax_error(p, "',' or ']'");
    return q8_lex_next(&p->lex);
}

/* --- fields this library does not know -------------------------------------------------------- */

static q8_code skip_value(struct parser *p);

/* "[package.extension]" or "[host/package.type]" as a name; `name` is its '[' and becomes all. */
static q8_code skip_extension_name(struct parser *p, q8_token *name)
{
    while (!q8_lex_is(&p->lex, ']')) {
        const q8_token_kind kind = p->lex.token.kind;
        if (kind != Q8_TOKEN_NAME && !q8_lex_is(&p->lex, '.') && !q8_lex_is(&p->lex, '/'))
            return syntax_error(p, "']' after an extension's name");
        const q8_code code = q8_lex_next(&p->lex);
        if (code)
            return code;
    }
    name->size = (size_t)(p->lex.at - name->text);
    return q8_lex_next(&p->lex);
}

static q8_code skip_separator(struct parser *p)
{
    return q8_lex_is(&p->lex, ',') || q8_lex_is(&p->lex, ';') ? q8_lex_next(&p->lex) : Q8_OK;
}

static q8_code skip_fields(struct parser *p, char close)
{
    while (!q8_lex_is(&p->lex, close)) {
        q8_token name = p->lex.token;
        const bool extension = q8_lex_is(&p->lex, '[');
        if (!extension && name.kind != Q8_TOKEN_NAME)
            return syntax_error(p, "a field's name");
        q8_code code = q8_lex_next(&p->lex);
        if (!code && extension)
            code = skip_extension_name(p, &name);
        if (!code)
            code = skip_value(p);
        if (!code)
            code = skip_separator(p);
        if (code)
            return code;
    }
    return q8_lex_next(&p->lex);
}

static q8_code skip_scalar(struct parser *p)
{
    q8_code code = Q8_OK;
    if (p->lex.token.kind == Q8_TOKEN_STRING) {
        while (!code && p->lex.token.kind == Q8_TOKEN_STRING)
            code = q8_lex_next(&p->lex);
        return code;
    }
    if (q8_lex_is(&p->lex, '-'))
        code = q8_lex_next(&p->lex);
    if (code)
        return code;
    if (p->lex.token.kind != Q8_TOKEN_NAME && p->lex.token.kind != Q8_TOKEN_NUMBER)
        return syntax_error(p, "a value");
    return q8_lex_next(&p->lex);
}

static q8_code skip_list(struct parser *p);

static q8_code skip_item(struct parser *p)
{
    q8_code code = enter(p);
    if (code)
        return code;
    const char close = open_message(p, &code);
    if (!code)
        code = close                     ? skip_fields(p, close)
               : q8_lex_is(&p->lex, '[') ? skip_list(p)
                                         : skip_scalar(p);
    p->depth--;
    return code;
}

static q8_code skip_list(struct parser *p)
{
    bool more;
    q8_code code = begin_list(p, &more);
    while (!code && more) {
        code = skip_item(p);
        if (!code)
            code = next_in_list(p, &more);
    }
    return code;
}

/* What follows a field's name. */
static q8_code skip_value(struct parser *p)
{
    if (q8_lex_is(&p->lex, ':')) {
        const q8_code code = q8_lex_next(&p->lex);
        if (code)
            return code;
    } else if (!q8_lex_is(&p->lex, '{') && !q8_lex_is(&p->lex, '<') && !q8_lex_is(&p->lex, '[')) {
        return syntax_error(p, "':' or '{'");
    }
    return skip_item(p);
}

static void warn_unknown(struct parser *p, const ProtobufCMessageDescriptor *type,
                         const char *where, const q8_token *name)
{
    /* How to compute, not what: every fork has values of its own, and none matters here. */
    static const char hint[] = "engine";
    if (name->size == sizeof(hint) - 1 && memcmp(name->text, hint, name->size) == 0)
        return;
    for (int i = 0; i < p->n_unknown; i++)
        if (p->unknown[i].type == type && p->unknown[i].size == name->size &&
            memcmp(p->unknown[i].name, name->text, name->size) == 0)
            return;
    if (p->n_unknown >= MAX_UNKNOWN)
        return;
    p->unknown[p->n_unknown++] = (struct unknown){type, name->text, name->size};
    char text[64];
    q8_warn(p->env, &name->loc, NULL, "unknown field %s%s%s is ignored", q8_token_text(name, text),
            *where ? " in " : "", where);
    if (p->n_unknown == MAX_UNKNOWN)
        q8_warn(p->env, &name->loc, NULL, "further unknown fields are ignored without a warning");
}

/* --- known fields ----------------------------------------------------------------------------- */

static void *member(ProtobufCMessage *message, field *f)
{
    return (char *)message + f->offset;
}

/* Of a repeated field, the count; of an optional scalar, its has_ flag. */
static void *quantifier(ProtobufCMessage *message, field *f)
{
    return (char *)message + f->quantifier_offset;
}

/* Room for one more element of a repeated field, which is counted at once. NULL: error filled. */
static void *append(struct parser *p, ProtobufCMessage *message, field *f)
{
    const size_t size = q8_value_size(f->type);
    size_t *count = quantifier(message, f);
    void **array = member(message, f);
    void *bigger = q8_arena_grow(p->arena, *array, *count, size);
    if (!bigger) {
        q8_fail_nomem(p->err);
        return NULL;
    }
    *array = bigger;
    return (char *)bigger + size * (*count)++;
}

static q8_code note_place(struct parser *p, const void *message, field *f, size_t index, q8_loc loc)
{
    const q8_place place = {loc.line, loc.column};
    return q8_places_add(p->places, message, f, (unsigned)index, place) ? Q8_OK
                                                                        : q8_fail_nomem(p->err);
}

/* One scalar into `dest`. */
static q8_code read_value(struct parser *p, const ProtobufCMessage *message, field *f, void *dest)
{
    /* V1's types were an enum, so they have no quotes. */
    const bool is_word = message->descriptor == &caffe__v1_layer_parameter__descriptor &&
                         strcmp(f->name, "type") == 0;
    if (!is_word && q8_value_is_bare(&p->lex, f)) {
        char text[64];
        q8_warn(p->env, &p->lex.token.loc, NULL, "'%s' takes a string in quotes, not %s", f->name,
                q8_token_text(&p->lex.token, text));
    }
    return q8_value_read(&p->lex, f, dest, p->arena);
}

static q8_code parse_repeated_scalar(struct parser *p, ProtobufCMessage *message, field *f,
                                     q8_loc loc)
{
    void *dest = append(p, message, f);
    if (!dest)
        return Q8_ENOMEM;
    const size_t index = *(size_t *)quantifier(message, f) - 1;
    const q8_code code = index < MAX_SCALAR_PLACES ? note_place(p, message, f, index, loc) : Q8_OK;
    return code ? code : read_value(p, message, f, dest);
}

static q8_code parse_single_scalar(struct parser *p, ProtobufCMessage *message, field *f,
                                   q8_loc loc)
{
    if (q8_lex_is(&p->lex, '['))
        return q8_fail(p->err, Q8_EFORMAT, &p->lex.token.loc, NULL,
                       "'%s' takes one value, not a list", f->name);
    if (q8_places_find(p->places, message, f, 0))
        q8_warn(p->env, &loc, NULL, "'%s' is given twice: the last one counts", f->name);
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_STRING)
        *(protobuf_c_boolean *)quantifier(message, f) = 1;
    const q8_code code = note_place(p, message, f, 0, loc);
    return code ? code : read_value(p, message, f, member(message, f));
}

/* The message that a field's value goes to: a new one, or the one that is there already. */
static q8_code target(struct parser *p, ProtobufCMessage *message, field *f, q8_loc loc,
                      ProtobufCMessage **sub)
{
    const bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
    const ProtobufCMessageDescriptor *type = f->descriptor;
    ProtobufCMessage **slot = member(message, f);
    if (!repeated && *slot) {
        *sub = *slot;
        return Q8_OK;
    }
    if (++p->n_messages > Q8_MAX_MESSAGES)
        return q8_fail(p->err, Q8_EFORMAT, &loc, NULL,
                       "more than %d messages in the file (Q8_MAX_MESSAGES in src/base/limits.h)",
                       Q8_MAX_MESSAGES);
    const size_t index = repeated ? *(size_t *)quantifier(message, f) : 0;
    *sub = q8_arena_alloc(p->arena, type->sizeof_message);
    if (repeated)
        slot = append(p, message, f);
    if (!*sub || !slot)
        return q8_fail_nomem(p->err);
    type->message_init(*sub);
    *slot = *sub;
    const q8_code code = note_place(p, message, f, index, loc);
    return code ? code : note_place(p, *sub, NULL, 0, loc);
}

static q8_code check_required(struct parser *p, const ProtobufCMessage *message, const char *name,
                              q8_loc loc)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = 0; i < type->n_fields; i++) {
        field *f = &type->fields[i];
        if (f->label == PROTOBUF_C_LABEL_REQUIRED && !q8_places_find(p->places, message, f, 0))
            return q8_fail(p->err, Q8_EFORMAT, &loc, NULL, "'%s' missing in %s", f->name, name);
    }
    return Q8_OK;
}

/* An error inside a layer is told with the layer's name, if that has been read by then, or else
 * with its number (0: it has none). */
static void name_layer(struct parser *p, const ProtobufCMessage *sub, size_t number)
{
    const char *name = NULL;
    if (p->err == NULL || p->err->layer[0] || p->err->code == Q8_ENOMEM)
        return;
    if (sub->descriptor == &caffe__layer_parameter__descriptor)
        name = ((const Caffe__LayerParameter *)sub)->name;
    else if (sub->descriptor == &caffe__v1_layer_parameter__descriptor)
        name = ((const Caffe__V1LayerParameter *)sub)->name;
    else if (sub->descriptor == &caffe__v0_layer_parameter__descriptor)
        name = ((const Caffe__V0LayerParameter *)sub)->name;
    else
        return;
    if (name && *name) {
        snprintf(p->err->layer, sizeof(p->err->layer), "%s", name);
    } else if (number > 0) {
        const q8_err said = *p->err;
        const q8_loc loc = {said.file, said.line, said.column};
        p->err->code = Q8_OK;
        q8_fail(p->err, said.code, &loc, NULL, "in layer %zu of the file: %s", number, said.text);
    }
}

static q8_code parse_message(struct parser *p, ProtobufCMessage *message, field *f, q8_loc loc)
{
    ProtobufCMessage *sub = NULL;
    q8_code code = enter(p);
    if (code)
        return code;
    const q8_loc opening = p->lex.token.loc;
    const char close = open_message(p, &code);
    if (!close)
        code = syntax_error(p, "'{'");
    if (!code)
        code = target(p, message, f, loc, &sub);
    if (!code)
        code = parse_fields(p, sub, f->name, close, opening);
    if (!code)
        code = check_required(p, sub, f->name, loc);
    if (code && sub)
        name_layer(p, sub,
                   f->label == PROTOBUF_C_LABEL_REPEATED ? *(size_t *)quantifier(message, f) : 0);
    p->depth--;
    return code;
}

static q8_code parse_value(struct parser *p, ProtobufCMessage *message, field *f, q8_loc loc)
{
    if (f->type == PROTOBUF_C_TYPE_MESSAGE)
        return parse_message(p, message, f, loc);
    if (f->label == PROTOBUF_C_LABEL_REPEATED)
        return parse_repeated_scalar(p, message, f, loc);
    return parse_single_scalar(p, message, f, loc);
}

static q8_code parse_list(struct parser *p, ProtobufCMessage *message, field *f)
{
    bool more;
    q8_code code = begin_list(p, &more);
    while (!code && more) {
        code = parse_value(p, message, f, p->lex.token.loc);
        if (!code)
            code = next_in_list(p, &more);
    }
    return code;
}

static q8_code parse_known(struct parser *p, ProtobufCMessage *message, field *f, q8_loc loc)
{
    const bool is_message = f->type == PROTOBUF_C_TYPE_MESSAGE;
    if (q8_lex_is(&p->lex, ':')) {
        const q8_code code = q8_lex_next(&p->lex);
        if (code)
            return code;
    } else if (!is_message) {
        return syntax_error(p, "':'");
    }
    if (q8_lex_is(&p->lex, '[') && f->label == PROTOBUF_C_LABEL_REPEATED)
        return parse_list(p, message, f);
    return parse_value(p, message, f, loc);
}

/* One field, from its name on. */
static q8_code parse_field(struct parser *p, ProtobufCMessage *message, const char *where)
{
    q8_token name = p->lex.token;
    const bool extension = q8_lex_is(&p->lex, '[');
    if (!extension && name.kind != Q8_TOKEN_NAME)
        return syntax_error(p, "a field's name");
    field *f = extension ? NULL : q8_text_field(message->descriptor, name.text, name.size);
    q8_code code = q8_lex_next(&p->lex);
    if (!code && extension)
        code = skip_extension_name(p, &name);
    if (code)
        return code;
    if (f) {
        code = parse_known(p, message, f, name.loc);
    } else {
        warn_unknown(p, message->descriptor, where, &name);
        code = skip_value(p);
    }
    return code ? code : skip_separator(p);
}

/* The fields of one message up to `close`, which 0 makes the end of the file. */
static q8_code parse_fields(struct parser *p, ProtobufCMessage *message, const char *name,
                            char close, q8_loc opening)
{
    for (;;) {
        if (p->lex.token.kind == Q8_TOKEN_END) {
            if (!close)
                return Q8_OK;
            return q8_fail(p->err, Q8_EFORMAT, &opening, NULL, "'%s' is never closed: '%c' missing",
                           name, close);
        }
        if (close && q8_lex_is(&p->lex, close))
            return q8_lex_next(&p->lex);
        const q8_code code = parse_field(p, message, name);
        if (code)
            return code;
    }
}

/* ---------------------------------------------------------------------------------------------- */

const ProtobufCFieldDescriptor *q8_text_field(const ProtobufCMessageDescriptor *type,
                                              const char *name, size_t size)
{
    for (unsigned i = 0; i < type->n_fields; i++) {
        const char *known = type->fields[i].name;
        if (strncmp(known, name, size) == 0 &&
            (known[size] == 0 || (known[size] == '_' && known[size + 1] == 0)))
            return &type->fields[i];
    }
    return NULL;
}

q8_code q8_text_parse(ProtobufCMessage **message, const ProtobufCMessageDescriptor *type,
                      const char *file, const char *text, size_t size, q8_places *places,
                      q8_arena *arena, const q8_env *env, q8_err *err)
{
    struct parser p = {.places = places, .arena = arena, .env = env, .err = err};
    *message = q8_arena_alloc(arena, type->sizeof_message);
    if (!*message)
        return q8_fail_nomem(err);
    type->message_init(*message);
    q8_code code = q8_lex_open(&p.lex, file, text, size, err);
    if (!code)
        code = parse_fields(&p, *message, "", 0, (q8_loc){file, 1, 1});
    if (!code)
        code = check_required(&p, *message, type->short_name, (q8_loc){file, 1, 1});
    return code;
}
