/* Finding pictures and tensors: folders, lists, files, links. */
#include "test_picture.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calib/picture.h"

static char root[64];

static const char *in_root(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", root, name);
    return p;
}

static void write_file(const char *name, const char *content)
{
    FILE *f = fopen(in_root(name), "w");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static void make_folder(const char *name)
{
    assert_int_equal(mkdir(in_root(name), 0777), 0);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/q8_pictures_XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* `expected`: names in the root, a space between them. */
static void check_list(const char *const *sources, size_t n, q8_list_order order,
                       const char *expected)
{
    char found[4096] = "";
    q8_picture_list list;
    q8_err err = {0};
    if (q8_picture_list_open(&list, sources, n, order, &err) != Q8_OK)
        fail_msg("%s: %s", err.file, err.text);
    for (size_t i = 0; i < list.n; i++) {
        char room[Q8_MAX_PATH];
        const char *path = q8_picture_list_path(&list, i, room);
        assert_int_equal(strncmp(path, root, strlen(root)), 0);
        if (i)
            strcat(found, " ");
        strcat(found, path + strlen(root) + 1);
    }
    q8_picture_list_close(&list);
    assert_null(list.file);
    assert_string_equal(found, expected);
}

static void check_one(const char *source, const char *expected)
{
    check_list(&source, 1, Q8_LIST_SORTED, expected);
}

static void check_error(const char *source, q8_code code, const char *text)
{
    q8_picture_list list;
    q8_err err = {0};
    assert_int_equal(q8_picture_list_open(&list, &source, 1, Q8_LIST_SORTED, &err), code);
    assert_string_equal(err.file, source);
    assert_string_equal(err.text, text);
    assert_null(list.file);
    q8_picture_list_close(&list);
}

static void folders(void **state)
{
    (void)state;
    make_folder("f");
    make_folder("f/sub");
    make_folder("f/sub/empty");
    make_folder("f/.hidden");
    write_file("f/b.JPG", "");
    write_file("f/a.png", "");
    write_file("f/sub/c.webp", "");
    write_file("f/sub-d.bmp", "");
    write_file("f/.hidden/e.jpg", "");
    write_file("f/.f.jpg", "");
    write_file("f/notes.txt", "BM and P6 are how formats begin");
    write_file("f/no_name", "P5 1 1 255 x");
    write_file("f/photo.jpg.bak", "\xff\xd8\xff\xe0");
    write_file("f/jpg", "");
    check_one(in_root("f"), "f/a.png f/b.JPG f/no_name f/photo.jpg.bak f/sub-d.bmp f/sub/c.webp");
}

static void links(void **state)
{
    (void)state;
    make_folder("l");
    make_folder("l/one");
    make_folder("elsewhere");
    write_file("l/one/a.jpg", "");
    write_file("elsewhere/z.jpg", "");
    assert_int_equal(symlink("..", in_root("l/one/up")), 0);
    assert_int_equal(symlink("one", in_root("l/two")), 0);
    assert_int_equal(symlink("../elsewhere", in_root("l/three")), 0);
    assert_int_equal(symlink("one/a.jpg", in_root("l/same.jpg")), 0);
    assert_int_equal(symlink("nothing", in_root("l/dangling")), 0);
    assert_int_equal(symlink("nothing", in_root("l/dangling.png")), 0);
    check_one(in_root("l"), "l/dangling.png l/one/a.jpg l/three/z.jpg");
}

static void list_files(void **state)
{
    (void)state;
    make_folder("t");
    write_file("t/b.jpg", "");
    write_file("t/a b.jpg", "");
    write_file("other.jpg", "");
    char text[512];
    snprintf(text, sizeof(text),
             "b.jpg 17\r\n\n  a b.jpg  \nmissing.jpg\t3\n%s\nb.jpg 18\nmissing.jpg",
             in_root("other.jpg"));
    write_file("t/list.TXT", text);
    check_one(in_root("t/list.TXT"), "other.jpg t/a b.jpg t/b.jpg t/missing.jpg");
}

static void sources_in_order_without_duplicates(void **state)
{
    (void)state;
    make_folder("d");
    make_folder("d/x");
    write_file("d/x/1.jpg", "");
    write_file("d/x/2.jpg", "");
    write_file("d/3.jpg", "");
    const char *sources[] = {in_root("d/x/2.jpg"), in_root("d"), in_root("d/x")};
    check_list(sources, 3, Q8_LIST_SORTED, "d/x/2.jpg d/3.jpg d/x/1.jpg");
}

/* What goes together is told by position, so nothing may move or go. */
static void paired_lists_stay_as_written(void **state)
{
    (void)state;
    make_folder("p");
    write_file("p/a.jpg", "");
    write_file("p/b.jpg", "");
    write_file("p/list.txt", "b.jpg\na.jpg\nb.jpg\n");
    const char *sources[] = {in_root("p/list.txt"), in_root("p")};
    check_list(sources, 2, Q8_LIST_PAIRED, "p/b.jpg p/a.jpg p/b.jpg p/a.jpg p/b.jpg");
    check_list(sources, 2, Q8_LIST_SORTED, "p/a.jpg p/b.jpg");
}

static void tensors(void **state)
{
    (void)state;
    make_folder("y");
    write_file("y/a.npy", "not one");
    write_file("y/b.jpg", "\x93NUMPY");
    write_file("y/c", "\x93NUMPY");
    write_file("y/d.dat", "NUMPY");
    check_one(in_root("y"), "y/a.npy y/b.jpg y/c");
    assert_true(q8_picture_list_is_tensor(in_root("y/a.npy")));
    assert_false(q8_picture_list_is_tensor(in_root("y/b.jpg")));
    assert_true(q8_picture_list_is_tensor(in_root("y/c")));
    assert_false(q8_picture_list_is_tensor(in_root("y/d.dat")));
    assert_false(q8_picture_list_is_tensor(in_root("y/none")));
    assert_true(q8_picture_list_is_tensor(in_root("y/none.NPY")));
}

static void errors(void **state)
{
    (void)state;
    make_folder("e");
    write_file("e/readme", "nothing here");
    write_file("blank.txt", "\n \n");
    FILE *f = fopen(in_root("binary.txt"), "w");
    assert_non_null(f);
    fwrite("a\0b", 1, 3, f);
    fclose(f);
    check_error(in_root("e"), Q8_EINVAL, "no pictures or .npy tensors in this folder");
    check_error(in_root("blank.txt"), Q8_EINVAL, "no pictures or .npy tensors in this list");
    check_error(in_root("binary.txt"), Q8_EFORMAT, "not a list of pictures: not a text file");
    check_error(in_root("gone"), Q8_EIO, "cannot find the pictures: No such file or directory");
    q8_picture_list list;
    q8_err err = {0};
    assert_int_equal(q8_picture_list_open(&list, NULL, 0, Q8_LIST_SORTED, &err), Q8_EINVAL);
    if (geteuid() == 0)
        return; /* root reads everything */
    make_folder("e/locked");
    assert_int_equal(chmod(in_root("e/locked"), 0), 0);
    const char *source = in_root("e");
    memset(&err, 0, sizeof(err));
    assert_int_equal(q8_picture_list_open(&list, &source, 1, Q8_LIST_SORTED, &err), Q8_EIO);
    assert_string_equal(err.file, in_root("e/locked"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders),
        cmocka_unit_test(links),
        cmocka_unit_test(list_files),
        cmocka_unit_test(sources_in_order_without_duplicates),
        cmocka_unit_test(paired_lists_stay_as_written),
        cmocka_unit_test(tensors),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
