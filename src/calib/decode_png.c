/** PNG through libpng. 16 bits become 8 by their high byte and alpha is dropped, as in OpenCV. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "calib/decode.h"

/** All that lives across a longjmp, owned by a function that does not call setjmp. */
struct job {
    png_structp png;
    png_infop info;
    jmp_buf escape;
    size_t position;
    q8_code code; /* of an error that ended it */
    bool out_of_memory;
    const q8_encoded *in;
    q8_picture *picture;
    q8_err *err;
};

static _Noreturn void leave(struct job *job, q8_code code)
{
    job->code = code;
    longjmp(job->escape, 1);
}

static _Noreturn void on_error(png_structp png, png_const_charp text)
{
    struct job *job = png_get_error_ptr(png);
    leave(job, q8_picture_fail(job->err, job->in, "damaged PNG: %s", text));
}

/* libpng's own words would make a damaged picture of it. */
static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    struct job *job = png_get_mem_ptr(png);
    void *memory = malloc(size);
    if (!memory)
        q8_fail_nomem(job->err); /* the first error is what is told */
    job->out_of_memory |= !memory;
    return memory;
}

static void release(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void read_bytes(png_structp png, png_bytep data, size_t size)
{
    struct job *job = png_get_io_ptr(png);
    if (size > job->in->size - job->position) {
        leave(job, q8_picture_fail(job->err, job->in, "truncated PNG: premature end of file"));
    }
    memcpy(data, job->in->data + job->position, size);
    job->position += size;
}

static void ask_for_rgb(png_structp png)
{
    png_set_strip_16(png);
    png_set_palette_to_rgb(png);
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
    png_set_strip_alpha(png);
}

static q8_code run(struct job *job)
{
    png_structp png = job->png;
    const q8_picture *picture = job->picture;
    if (setjmp(job->escape))
        return job->out_of_memory ? Q8_ENOMEM : job->code;
    png_set_read_fn(png, job, read_bytes);
    png_read_info(png, job->info);
    q8_code code = q8_picture_alloc(job->picture, job->in, png_get_image_width(png, job->info),
                                    png_get_image_height(png, job->info), job->err);
    if (code != Q8_OK)
        return code;
    ask_for_rgb(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, job->info);
    const size_t row_size = (size_t)picture->width * 3;
    if (png_get_rowbytes(png, job->info) != row_size)
        return q8_picture_fail(job->err, job->in, "a PNG that does not convert to RGB");
    for (int pass = 0; pass < passes; pass++) {
        for (int y = 0; y < picture->height; y++)
            png_read_row(png, picture->rgb + (size_t)y * row_size, NULL);
    }
    png_read_end(png, NULL);
    return job->out_of_memory ? Q8_ENOMEM : Q8_OK;
}

static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    struct job job = {.picture = picture, .in = in, .err = err};
    q8_code code = Q8_ENOMEM;
    job.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &job, on_error, on_warning, &job,
                                       allocate, release);
    if (job.png)
        job.info = png_create_info_struct(job.png);
    if (job.info)
        code = run(&job);
    else
        q8_fail_nomem(err);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    return code;
}

static bool probe(const unsigned char *data, size_t size)
{
    return size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0;
}

/** Chunks come one after the other: a size, a kind, the data, a checksum. */
static const unsigned char *find_exif(const unsigned char *data, size_t size, size_t *exif_size)
{
    enum { AROUND = 12 };
    for (size_t at = 8; size - at >= AROUND;) {
        const unsigned char *p = data + at;
        const size_t length = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
        if (length > size - at - AROUND)
            return NULL;
        if (memcmp(p + 4, "eXIf", 4) == 0) {
            *exif_size = length;
            return p + 8;
        }
        at += AROUND + length;
    }
    return NULL;
}

static const char *const extensions[] = {"png", NULL};

const q8_decoder q8_decode_png = {"PNG", extensions, probe, decode, find_exif};
