#include "verify/labels.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/limits.h"

struct entry {
    const char *name; /* in the file's bytes */
    int label;
};

struct q8_labels {
    q8_bytes bytes;
    struct entry *entry; /* by name */
    size_t n;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static size_t count_lines(const char *text)
{
    size_t n = 1;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

/* The name may hold blanks: the label is behind the last. */
static q8_code parse_line(struct entry *entry, char *line, const q8_loc *loc, q8_err *err)
{
    size_t length = strlen(line);
    while (length > 0 && strchr(" \t\r", line[length - 1]))
        line[--length] = '\0';
    char *number = line + length;
    while (number > line && !strchr(" \t", number[-1]))
        number--;
    char *end;
    errno = 0;
    const long label = strtol(number, &end, 10);
    if (number == line || end == number || *end || errno || label < 0 || label > INT_MAX)
        return q8_fail(err, Q8_EFORMAT, loc, NULL,
                       "not a picture's name followed by the number of its class: '%.80s'", line);
    while (number > line && strchr(" \t", number[-1]))
        *--number = '\0';
    *entry = (struct entry){line, (int)label};
    return Q8_OK;
}

static q8_code parse(q8_labels *l, const char *path, q8_err *err)
{
    q8_loc loc = {.file = path};
    q8_code code = Q8_OK;
    char *rest = (char *)l->bytes.data;
    for (char *line; !code && rest;) {
        line = rest;
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = '\0';
        loc.line++;
        line += strspn(line, " \t\r");
        if (*line && *line != '#')
            code = parse_line(&l->entry[l->n++], line, &loc, err);
    }
    if (!code && l->n == 0)
        code = q8_fail(err, Q8_EFORMAT, &loc, NULL, "the file has no labels");
    if (!code) /* or else the last entry has no name */
        qsort(l->entry, l->n, sizeof(*l->entry), by_name);
    return code;
}

q8_code q8_labels_read(q8_labels **labels, const char *path, q8_err *err)
{
    q8_labels *l = *labels = calloc(1, sizeof(*l));
    if (!l)
        return q8_fail_nomem(err);
    q8_code code = q8_file_read(&l->bytes, path, Q8_MAX_LABELS_FILE, err);
    const q8_loc loc = {.file = path};
    if (!code && strlen((char *)l->bytes.data) != l->bytes.size)
        code = q8_fail(err, Q8_EFORMAT, &loc, NULL, "not a text file");
    if (!code) {
        l->entry = calloc(count_lines((char *)l->bytes.data), sizeof(*l->entry));
        code = l->entry ? parse(l, path, err) : q8_fail_nomem(err);
    }
    if (code)
        q8_labels_close(labels);
    return code;
}

void q8_labels_close(q8_labels **labels)
{
    if (!*labels)
        return;
    q8_bytes_free(&(*labels)->bytes);
    free((*labels)->entry);
    free(*labels);
    *labels = NULL;
}

int q8_labels_find(const q8_labels *labels, const char *path)
{
    for (const char *name = path; name; name = strchr(name, '/') ? strchr(name, '/') + 1 : NULL) {
        const struct entry key = {.name = name};
        const struct entry *found =
            bsearch(&key, labels->entry, labels->n, sizeof(*labels->entry), by_name);
        if (found)
            return found->label;
    }
    return -1;
}
