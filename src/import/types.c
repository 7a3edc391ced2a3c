#include "import/types.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/words.h"

enum { MAX_TYPE = 40 }; /* longer than any */

/* Small letters and digits only: how names are compared that may be meant to be the same. */
static size_t simplify(const char *type, char simple[MAX_TYPE + 1])
{
    size_t n = 0;
    for (; *type && n < MAX_TYPE; type++)
        if (isalnum((unsigned char)*type))
            simple[n++] = (char)tolower((unsigned char)*type);
    simple[n] = '\0';
    return n;
}

/* The known type that is spelt nearly so, NULL: none. */
static const char *similar_type(const char *type)
{
    char wanted[MAX_TYPE + 1], known[MAX_TYPE + 1];
    const size_t n_wanted = simplify(type, wanted);
    const char *nearest = NULL;
    size_t nearest_distance = n_wanted / 5 + 1; /* misspelt letters that are forgiven, and one */
    for (int i = 0; i < q8_n_ops; i++)
        for (const char *const *name = q8_ops[i]->caffe_types; name && *name; name++) {
            simplify(*name, known);
            const size_t d = q8_word_distance(wanted, known);
            if (d < nearest_distance) {
                nearest = *name;
                nearest_distance = d;
            }
        }
    return nearest;
}

q8_code q8_import_check_types(const q8_caffe_net *net, q8_err *err)
{
    char list[5632] = "";
    size_t used = 0;
    int unknown = 0, listed = 0;
    bool advise = false;
    const q8_caffe_layer *first = NULL;
    for (int i = 0; i < net->n_layers; i++) {
        const q8_caffe_layer *layer = &net->layer[i];
        if (q8_op_by_caffe_type(layer->type))
            continue;
        if (unknown++ == 0)
            first = layer;
        if (listed < unknown - 1)
            continue; /* the list is full */
        const char *similar = similar_type(layer->type);
        advise |= !similar;
        char line[320];
        const int length = snprintf(
            line, sizeof(line), "\n  %.80s:%d: layer '%.60s' has type '%.60s'%s%s%s",
            layer->loc.file ? layer->loc.file : "", layer->loc.line, layer->name, layer->type,
            similar ? " (did you mean '" : "", similar ? similar : "", similar ? "'?)" : "");
        if (used + (size_t)length < sizeof(list)) {
            memcpy(list + used, line, (size_t)length + 1);
            used += (size_t)length;
            listed++;
        }
    }
    if (unknown == 0)
        return Q8_OK;
    return q8_fail(err, Q8_EUNSUPPORTED, &first->loc, NULL,
                   "%d layer%s of a type this program does not know:%s%s%s", unknown,
                   unknown == 1 ? "" : "s", list, listed < unknown ? "\n  …" : "",
                   advise ? "\n  what can be done: end the network before such a layer and do its "
                            "work in the program that runs it, or write it with the layer types "
                            "that docs/layers.md lists"
                          : "");
}
