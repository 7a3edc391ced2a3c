#include "ncnn/names.h"

#include <stdio.h>
#include <string.h>

/* --- the map ---------------------------------------------------------------------------------- */

struct slot {
    const char *name; /* NULL: free */
    int value;
};

/* Open addressing; the capacity is a power of two and at least twice the count. */
struct q8_name_map {
    q8_arena *arena;
    struct slot *slot;
    size_t capacity, count;
};

enum { FIRST_CAPACITY = 64 };

q8_name_map *q8_name_map_new(q8_arena *arena)
{
    q8_name_map *map = q8_arena_alloc(arena, sizeof(*map));
    struct slot *slot = q8_arena_array(arena, FIRST_CAPACITY, sizeof(*slot));
    if (!map || !slot)
        return NULL;
    *map = (q8_name_map){.arena = arena, .slot = slot, .capacity = FIRST_CAPACITY};
    return map;
}

/* The slot that holds `name`, or the free one where it belongs. */
static struct slot *probe(const q8_name_map *map, const char *name)
{
    size_t hash = 2166136261u; /* FNV-1a */
    for (const char *p = name; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    size_t i = (hash ^ hash >> 15) & (map->capacity - 1);
    while (map->slot[i].name && strcmp(map->slot[i].name, name) != 0)
        i = (i + 1) & (map->capacity - 1);
    return &map->slot[i];
}

int *q8_name_map_find(const q8_name_map *map, const char *name)
{
    struct slot *slot = probe(map, name);
    return slot->name ? &slot->value : NULL;
}

static bool widen(q8_name_map *map)
{
    const q8_name_map old = *map;
    struct slot *slot = q8_arena_array(map->arena, old.capacity * 2, sizeof(*slot));
    if (!slot)
        return false;
    map->slot = slot;
    map->capacity = old.capacity * 2;
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slot[i].name)
            *probe(map, old.slot[i].name) = old.slot[i];
    return true;
}

bool q8_name_map_add(q8_name_map *map, const char *name, int value)
{
    if (map->count >= map->capacity / 2 && !widen(map))
        return false;
    *probe(map, name) = (struct slot){name, value};
    map->count++;
    return true;
}

/* --- a graph's names -------------------------------------------------------------------------- */

static bool is_fine_char(unsigned char c)
{
    return c > ' ' && c != 0x7f && c != '=';
}

static bool is_fine(const char *name)
{
    size_t n = 0;
    for (; name[n]; n++)
        if (n == Q8_NCNN_NAME_MAX || !is_fine_char((unsigned char)name[n]))
            return false;
    return n > 0;
}

/* `name` with the odd characters replaced, cut between two UTF-8 characters to leave room for a
 * suffix. */
static char *clean(q8_arena *arena, const char *name)
{
    enum { ROOM = 16 };
    char *copy = q8_arena_strdup(arena, name[0] ? name : "unnamed");
    if (!copy)
        return NULL;
    size_t n = strlen(copy);
    if (n > Q8_NCNN_NAME_MAX - ROOM)
        for (n = Q8_NCNN_NAME_MAX - ROOM; n > 1 && ((unsigned char)copy[n] & 0xc0) == 0x80;)
            n--;
    copy[n] = '\0';
    for (char *p = copy; *p; p++)
        if (!is_fine_char((unsigned char)*p))
            *p = '_';
    return copy;
}

/* A name like `wanted` that is not in the map: itself, or with a number behind it. The map's number
 * of a name is how many were made from it, so that a thousand equal names are not tried a thousand
 * times each. */
static const char *add_like(q8_name_map *map, q8_arena *arena, const char *wanted)
{
    const char *base = clean(arena, wanted), *name = base;
    while (name && q8_name_map_find(map, name)) {
        int *made = q8_name_map_find(map, base);
        name = q8_arena_printf(arena, "%s_%d", base, ++*made);
    }
    return name && q8_name_map_add(map, name, 0) ? name : NULL;
}

/* Keeps a name's spelling if that is possible. False when out of memory. */
static bool add_as_is(q8_name_map *map, const char *wanted, const char **name)
{
    if (*name || !is_fine(wanted) || q8_name_map_find(map, wanted))
        return true;
    *name = wanted;
    return q8_name_map_add(map, wanted, 0);
}

/* Tensors that no node makes (passes leave some behind) get no name and take none away. */
static bool name_tensors(const q8_graph *graph, const char **name)
{
    q8_name_map *map = q8_name_map_new(graph->arena);
    if (!map)
        return false;
    for (int i = 0; i < graph->n_outputs; i++) {
        const int t = graph->output[i];
        if (!add_as_is(map, graph->tensor[t].name, &name[t]))
            return false;
    }
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out; k++) {
            const int t = graph->node[i]->out[k];
            if (!add_as_is(map, graph->tensor[t].name, &name[t]))
                return false;
        }
    for (int i = 0; i < graph->n_nodes; i++)
        for (int k = 0; k < graph->node[i]->n_out; k++) {
            const int t = graph->node[i]->out[k];
            if (!name[t] && !(name[t] = add_like(map, graph->arena, graph->tensor[t].name)))
                return false;
        }
    return true;
}

static bool name_nodes(const q8_graph *graph, const char **name)
{
    q8_name_map *map = q8_name_map_new(graph->arena);
    if (!map)
        return false;
    for (int i = 0; i < graph->n_nodes; i++)
        if (!add_as_is(map, graph->node[i]->name, &name[i]))
            return false;
    for (int i = 0; i < graph->n_nodes; i++)
        if (!name[i] && !(name[i] = add_like(map, graph->arena, graph->node[i]->name)))
            return false;
    return true;
}

q8_code q8_ncnn_names_make(const q8_graph *graph, q8_ncnn_names *names, q8_err *err)
{
    names->node = q8_arena_array(graph->arena, (size_t)graph->n_nodes, sizeof(*names->node));
    names->tensor = q8_arena_array(graph->arena, (size_t)graph->n_tensors, sizeof(*names->tensor));
    if (!names->node || !names->tensor || !name_tensors(graph, names->tensor) ||
        !name_nodes(graph, names->node))
        return q8_fail_nomem(err);
    return Q8_OK;
}
