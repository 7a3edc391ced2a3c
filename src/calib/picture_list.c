/** Finding the calibration pictures and tensors: folders, list files, single files. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/limits.h"
#include "calib/decode.h"
#include "calib/npy.h"

/** A file or folder, whatever name it was reached by. Both 0: unknown, since it cannot be found. */
struct identity {
    dev_t device;
    ino_t inode;
};

struct entry {
    const char *path;
    struct identity id;
    size_t order; /**< in the list, to keep the first of duplicates */
};

/** What is gathered; everything is in the arena. */
struct search {
    q8_arena *arena;
    struct entry *entry;
    size_t n;
    struct identity *visited; /**< folders: links may lead to one twice, or in circles */
    size_t n_visited;
    q8_list_order order;
    q8_err *err;
};

static struct identity identity_of(const struct stat *st)
{
    return (struct identity){st->st_dev, st->st_ino};
}

static int compare_numbers(unsigned long long a, unsigned long long b)
{
    return (a > b) - (a < b);
}

static int compare_identities(struct identity a, struct identity b)
{
    const int by_device = compare_numbers(a.device, b.device);
    return by_device ? by_device : compare_numbers(a.inode, b.inode);
}

/* --- gathering -------------------------------------------------------------------------------- */

static q8_code add(struct search *s, const char *path, struct identity id)
{
    struct entry *entries = q8_arena_grow(s->arena, s->entry, s->n, sizeof(*entries));
    if (!entries)
        return q8_fail_nomem(s->err);
    s->entry = entries;
    entries[s->n++] = (struct entry){.path = path, .id = id};
    return Q8_OK;
}

static bool ends_with(const char *path, const char *extension)
{
    const size_t length = strlen(path), n = strlen(extension);
    return length > n && strcasecmp(path + length - n, extension) == 0;
}

bool q8_picture_list_is_tensor(const char *path)
{
    unsigned char start[Q8_NPY_PROBE_BYTES];
    if (ends_with(path, ".npy"))
        return true;
    if (q8_decoder_by_name(path))
        return false;
    const ssize_t n = q8_file_start(path, start, sizeof(start));
    return n > 0 && q8_npy_probe(start, (size_t)n);
}

/** By its content, where a file's name tells nothing. What cannot be read stays in the list, to be
 *  complained about, but for what this user may not read. */
static bool may_be_sample(const char *path)
{
    unsigned char start[Q8_PROBE_BYTES];
    const ssize_t n = q8_file_start(path, start, sizeof(start));
    if (n < 0)
        return errno != EACCES;
    return q8_npy_probe(start, (size_t)n) || q8_decoder_by_content(start, (size_t)n);
}

/** Remembers a folder. */
static q8_code visit(struct search *s, struct identity id, bool *first_time)
{
    *first_time = false;
    for (size_t i = 0; i < s->n_visited; i++) {
        if (compare_identities(s->visited[i], id) == 0)
            return Q8_OK;
    }
    struct identity *visited = q8_arena_grow(s->arena, s->visited, s->n_visited, sizeof(*visited));
    if (!visited)
        return q8_fail_nomem(s->err);
    s->visited = visited;
    visited[s->n_visited++] = id;
    *first_time = true;
    return Q8_OK;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/** The names in a folder that are not hidden, sorted: what links lead to must not depend on the
 *  file system's order. */
static q8_code read_names(struct search *s, const char *path, const char ***names, size_t *n)
{
    q8_code code = Q8_OK;
    const char **list = NULL;
    size_t count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return q8_fail_errno(s->err, path, "open the folder");
    for (;;) {
        errno = 0;
        const struct dirent *item = readdir(dir);
        if (!item) {
            if (errno)
                code = q8_fail_errno(s->err, path, "read the folder");
            break;
        }
        if (item->d_name[0] == '.')
            continue;
        const char **longer = q8_arena_grow(s->arena, list, count, sizeof(*list));
        const char *name = q8_arena_strdup(s->arena, item->d_name);
        if (!longer || !name) {
            code = q8_fail_nomem(s->err);
            break;
        }
        list = longer;
        list[count++] = name;
    }
    closedir(dir);
    if (count > 1)
        qsort(list, count, sizeof(*list), compare_names);
    *names = list;
    *n = count;
    return code;
}

static q8_code search_folder(struct search *s, const char *path, struct identity id);

/** One name in a folder: a folder, a picture, or nothing of interest. */
static q8_code look_at(struct search *s, const char *path)
{
    struct stat st;
    const bool found = stat(path, &st) == 0;
    if (!found && errno != ENOENT && errno != ELOOP)
        return q8_fail_errno(s->err, path, "look at");
    if (found && S_ISDIR(st.st_mode))
        return search_folder(s, path, identity_of(&st));
    if (found && !S_ISREG(st.st_mode))
        return Q8_OK;
    /* A dangling link that is called like a picture stays in the list, to be complained about. */
    if (!q8_decoder_by_name(path) && !ends_with(path, ".npy") && !(found && may_be_sample(path)))
        return Q8_OK;
    return add(s, path, found ? identity_of(&st) : (struct identity){0});
}

static q8_code search_folder(struct search *s, const char *path, struct identity id)
{
    bool first_time;
    const char **names = NULL;
    size_t n = 0;
    q8_code code = visit(s, id, &first_time);
    if (code != Q8_OK || !first_time)
        return code;
    code = read_names(s, path, &names, &n);
    const char *slash = path[strlen(path) - 1] == '/' ? "" : "/";
    for (size_t i = 0; i < n && code == Q8_OK; i++) {
        const char *child = q8_arena_printf(s->arena, "%s%s%s", path, slash, names[i]);
        code = child ? look_at(s, child) : q8_fail_nomem(s->err);
    }
    return code;
}

/** `name` as seen from the folder that `list` is in. */
static const char *beside(q8_arena *arena, const char *list, const char *name)
{
    const char *slash = strrchr(list, '/');
    if (name[0] == '/' || !slash)
        return q8_arena_strdup(arena, name);
    return q8_arena_printf(arena, "%.*s%s", (int)(slash + 1 - list), list, name);
}

/** A line of a list file: a path, perhaps followed by a label. Paths may hold spaces, so the whole
 *  line is tried first. */
static q8_code add_line(struct search *s, const char *list, char *line)
{
    struct stat st;
    char *end = line + strlen(line);
    while (end > line && strchr(" \t\r", end[-1]))
        *--end = 0;
    line += strspn(line, " \t");
    if (!*line)
        return Q8_OK;
    const char *path = beside(s->arena, list, line);
    if (path && stat(path, &st) == 0)
        return add(s, path, identity_of(&st));
    line[strcspn(line, " \t")] = 0;
    path = beside(s->arena, list, line);
    if (!path)
        return q8_fail_nomem(s->err);
    return add(s, path, stat(path, &st) == 0 ? identity_of(&st) : (struct identity){0});
}

static q8_code read_list_file(struct search *s, const char *path)
{
    q8_bytes bytes;
    const q8_loc loc = {.file = path};
    q8_code code = q8_file_read(&bytes, path, Q8_MAX_LIST_FILE, s->err);
    if (code == Q8_OK && memchr(bytes.data, 0, bytes.size))
        code = q8_fail(s->err, Q8_EFORMAT, &loc, NULL, "not a list of pictures: not a text file");
    char *rest = (char *)bytes.data;
    while (code == Q8_OK && rest) {
        char *line = strsep(&rest, "\n");
        code = add_line(s, path, line);
    }
    q8_bytes_free(&bytes);
    return code;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->path, ((const struct entry *)b)->path);
}

static q8_code search_source(struct search *s, const char *source)
{
    struct stat st;
    q8_code code;
    const q8_loc loc = {.file = source};
    const size_t before = s->n;
    s->visited = NULL; /* sources may overlap; duplicates go later */
    s->n_visited = 0;
    if (stat(source, &st) != 0)
        return q8_fail_errno(s->err, source, "find the pictures");
    const bool folder = S_ISDIR(st.st_mode);
    const bool list_file = !folder && ends_with(source, ".txt");
    if (folder)
        code = search_folder(s, source, identity_of(&st));
    else if (list_file)
        code = read_list_file(s, source);
    else
        code = add(s, source, identity_of(&st));
    if (code != Q8_OK)
        return code;
    if (s->n == before)
        return q8_fail(s->err, Q8_EINVAL, &loc, NULL, "no pictures or .npy tensors in this %s",
                       folder ? "folder" : "list");
    if (folder || s->order == Q8_LIST_SORTED)
        qsort(s->entry + before, s->n - before, sizeof(*s->entry), compare_paths);
    return Q8_OK;
}

/* --- the list --------------------------------------------------------------------------------- */

/** Groups the names of one file, the earliest first. What cannot be found is told by its name. */
static int compare_files(const struct entry *a, const struct entry *b)
{
    const int by_id = compare_identities(a->id, b->id);
    return by_id || a->id.inode ? by_id : strcmp(a->path, b->path);
}

static int compare_for_duplicates(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    const int by_file = compare_files(x, y);
    return by_file ? by_file : compare_numbers(x->order, y->order);
}

static int compare_orders(const void *a, const void *b)
{
    return compare_numbers(((const struct entry *)a)->order, ((const struct entry *)b)->order);
}

static void drop_duplicates(struct search *s)
{
    size_t kept = 1;
    for (size_t i = 0; i < s->n; i++)
        s->entry[i].order = i;
    qsort(s->entry, s->n, sizeof(*s->entry), compare_for_duplicates);
    for (size_t i = 1; i < s->n; i++) {
        if (compare_files(&s->entry[kept - 1], &s->entry[i]) != 0)
            s->entry[kept++] = s->entry[i];
    }
    s->n = kept;
    qsort(s->entry, s->n, sizeof(*s->entry), compare_orders);
}

/** A path's folder, its slash included. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash + 1 - path) : 0;
}

/** Copies the paths; a folder is written once for all that follow each other in it. */
static q8_code copy_paths(q8_picture_list *list, const struct search *s)
{
    size_t size = 0;
    for (size_t i = 0; i < s->n; i++)
        size += strlen(s->entry[i].path) + 2;
    if (size > UINT32_MAX)
        return q8_fail(s->err, Q8_EINVAL, NULL, NULL,
                       "the list of pictures has more than 4 GiB of names: give fewer pictures, or "
                       "parts of them and merge their statistics (--stats-out, --stats)");
    list->file = malloc(s->n * sizeof(*list->file));
    list->text = malloc(size);
    if (!list->file || !list->text)
        return q8_fail_nomem(s->err);
    const char *folder = NULL;
    size_t shared = 0, used = 0;
    for (size_t i = 0; i < s->n; i++) {
        const char *path = s->entry[i].path;
        const size_t length = folder_length(path), name = strlen(path + length) + 1;
        if (!folder || length != shared || memcmp(path, folder, length) != 0) {
            folder = memcpy(list->text + used, path, length);
            list->text[used + length] = 0;
            used += length + 1;
            shared = length;
        }
        memcpy(list->text + used, path + length, name);
        list->file[i] = (q8_listed_file){(uint32_t)(folder - list->text), (uint32_t)used};
        used += name;
    }
    list->n = s->n;
    char *text = realloc(list->text, used); /* most of it was the repeated folders' */
    if (text)
        list->text = text;
    return Q8_OK;
}

const char *q8_picture_list_path(const q8_picture_list *list, size_t i, char path[Q8_MAX_PATH])
{
    snprintf(path, Q8_MAX_PATH, "%s%s", list->text + list->file[i].folder,
             list->text + list->file[i].name);
    return path;
}

q8_code q8_picture_list_open(q8_picture_list *list, const char *const *sources, size_t n_sources,
                             q8_list_order order, q8_err *err)
{
    memset(list, 0, sizeof(*list));
    if (n_sources == 0)
        return q8_fail(err, Q8_EINVAL, NULL, NULL, "no pictures were given");
    struct search s = {.arena = q8_arena_open(), .order = order, .err = err};
    q8_code code = s.arena ? Q8_OK : q8_fail_nomem(err);
    for (size_t i = 0; i < n_sources && code == Q8_OK; i++)
        code = search_source(&s, sources[i]);
    if (code == Q8_OK) {
        if (order == Q8_LIST_SORTED)
            drop_duplicates(&s);
        code = copy_paths(list, &s);
    }
    if (code != Q8_OK)
        q8_picture_list_close(list);
    q8_arena_close(&s.arena);
    return code;
}

void q8_picture_list_close(q8_picture_list *list)
{
    if (!list)
        return;
    free(list->file);
    free(list->text);
    memset(list, 0, sizeof(*list));
}
