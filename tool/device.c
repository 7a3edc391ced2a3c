#include "device.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

static bool is_number(const char *text)
{
    char *end;
    errno = 0;
    const long number = strtol(text, &end, 10);
    return end != text && !*end && !errno && number >= 0 && number <= INT_MAX;
}

bool device_is_list(const struct options *o)
{
    return o->device && strcmp(o->device, "list") == 0;
}

const char *device_usage(const struct options *o)
{
    if (o->gpu && (o->fast || o->precision != Q8_INT8))
        return "--gpu 1 is for --precision int8, without --fast";
    if (!o->device || device_is_list(o))
        return NULL;
    if (!is_number(o->device))
        return "--device needs a number, as --device list counts them, or 'list'";
    return o->gpu ? NULL : "--device is for --gpu 1";
}

q8_code device_open(q8_gpu **gpu, const struct options *o, const q8_env *env, q8_err *err)
{
    *gpu = NULL;
    if (!o->gpu)
        return Q8_OK;
    const q8_code code = q8_gpu_open(gpu, o->device ? atoi(o->device) : Q8_GPU_ANY, err);
    if (!code && env->note) {
        const q8_gpu_info info = q8_gpu_describe(*gpu);
        q8_err note = {0};
        snprintf(note.text, sizeof(note.text), "the networks run on OpenCL device '%s'%s",
                 info.name, info.is_gpu ? "" : ", which is no GPU");
        env->note(env->user, &note);
    }
    return code;
}

q8_code device_list(q8_err *err)
{
    static const struct column columns[] = {
        {.title = "device", .right = true, .give_way = CUT_NEVER},
        {.title = "name", .give_way = CUT_END, .narrowest = 12},
        {.title = "kind", .give_way = CUT_NEVER},
        {.title = "memory", .right = true, .give_way = CUT_NEVER},
        {.title = "platform", .give_way = CUT_END, .narrowest = 8, .droppable = true},
        {.title = "driver", .give_way = CUT_END, .narrowest = 8, .droppable = true},
    };
    q8_gpu_info *list;
    size_t n;
    const q8_code code = q8_gpu_list(&list, &n, err);
    struct table *table = code ? NULL : table_open(columns, sizeof(columns) / sizeof(*columns), n);
    for (size_t i = 0; table && i < n; i++) {
        table_set(table, i, 0, "%zu", i);
        table_set(table, i, 1, "%s", list[i].name);
        table_set(table, i, 2, "%s", list[i].is_gpu ? "GPU" : "other");
        table_set(table, i, 3, "%llu MiB", (unsigned long long)(list[i].memory >> 20));
        table_set(table, i, 4, "%s", list[i].platform);
        table_set(table, i, 5, "%s", list[i].driver);
    }
    if (table)
        table_print(table, terminal_width(stdout), stdout);
    table_close(&table);
    free(list);
    return code;
}
