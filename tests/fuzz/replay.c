/* replay FILE|FOLDER...: runs files through a fuzz target once, without libFuzzer. Linked with one
 * target. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "fuzz.h"

static int n_files;

static void fail(const char *path)
{
    perror(path);
    exit(2);
}

static void run_file(const char *path)
{
    static q8_err err;
    q8_bytes bytes;
    if (q8_file_read(&bytes, path, (size_t)1 << 30, &err) != Q8_OK)
        fail(path);
    uint8_t *exact = malloc(bytes.size ? bytes.size : 1); /* no byte more than libFuzzer gives */
    if (!exact)
        fail(path);
    if (bytes.size)
        memcpy(exact, bytes.data, bytes.size);
    fprintf(stderr, "%s\n", path); /* the last one named is the one that crashed */
    LLVMFuzzerTestOneInput(exact, bytes.size);
    free(exact);
    q8_bytes_free(&bytes);
    n_files++;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void run_path(const char *path)
{
    struct stat st;
    struct dirent **entry;
    if (stat(path, &st) != 0)
        fail(path);
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    const int n = scandir(path, &entry, is_visible, alphasort);
    if (n < 0)
        fail(path);
    for (int i = 0; i < n; i++) {
        char inside[4096];
        snprintf(inside, sizeof(inside), "%s/%s", path, entry[i]->d_name);
        run_path(inside);
        free(entry[i]);
    }
    free(entry);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run_path(argv[i]);
    printf("%d files\n", n_files);
    return n_files == 0;
}
