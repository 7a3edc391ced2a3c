/* A list of pictures and a file of labels, which are lines of text alike. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "calib/picture.h"
#include "fuzz.h"
#include "verify/labels.h"

static char folder[] = "/tmp/q8-fuzz-XXXXXX", list_path[64];

static void remove_folder(void)
{
    unlink(list_path);
    rmdir(folder);
}

/* The file under a name that ends in .txt, which is what makes it a list. */
static const char *list_name(const char *path)
{
    if (list_path[0])
        return list_path;
    if (!mkdtemp(folder))
        abort();
    snprintf(list_path, sizeof(list_path), "%s/list.txt", folder);
    if (symlink(path, list_path) != 0 || atexit(remove_folder) != 0)
        abort();
    return list_path;
}

static void read_labels(const char *path)
{
    static q8_err err;
    q8_labels *labels = NULL;
    memset(&err, 0, sizeof(err));
    const q8_code code = q8_labels_read(&labels, path, &err);
    fuzz_check(code, &err);
    if (code)
        return;
    static const char *const names[] = {"", "a", "a.png", "x/a.png", "/a b.png", "//", "x/"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (q8_labels_find(labels, names[i]) < -1)
            abort();
    q8_labels_close(&labels);
}

/* What every list is: not empty, and without duplicates where it is sorted. */
static void read_list(const char *path, q8_list_order order)
{
    static q8_err err;
    q8_picture_list list;
    memset(&err, 0, sizeof(err));
    const q8_code code = q8_picture_list_open(&list, &path, 1, order, &err);
    fuzz_check(code, &err);
    if (code)
        return;
    if (list.n == 0)
        abort();
    for (size_t i = 0; i < list.n; i++) {
        char one[Q8_MAX_PATH], other[Q8_MAX_PATH];
        if (strchr(q8_picture_list_path(&list, i, one), '\n'))
            abort();
        for (size_t k = i + 1; order == Q8_LIST_SORTED && k < list.n; k++)
            if (strcmp(one, q8_picture_list_path(&list, k, other)) == 0)
                abort();
    }
    q8_picture_list_close(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file(data, size);
    read_labels(path);
    path = list_name(path);
    read_list(path, Q8_LIST_SORTED);
    read_list(path, Q8_LIST_PAIRED);
    return 0;
}
