/** JPEG through libjpeg(-turbo), with its default DCT and upsampling: the pixels OpenCV gives. */
#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it before */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "calib/decode.h"

/** All that lives across a longjmp, owned by a function that does not call setjmp. */
struct job {
    struct jpeg_decompress_struct info;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    q8_code code;
    const q8_encoded *in;
    q8_picture *picture;
    q8_err *err;
};

static _Noreturn void leave(struct job *job, q8_code code)
{
    job->code = code;
    longjmp(job->escape, 1);
}

static _Noreturn void on_error(j_common_ptr info)
{
    struct job *job = info->client_data;
    char text[JMSG_LENGTH_MAX];
    if (info->err->msg_code == JERR_OUT_OF_MEMORY)
        leave(job, q8_fail_nomem(job->err));
    info->err->format_message(info, text);
    leave(job, q8_picture_fail(job->err, job->in, "damaged or unsupported JPEG: %s", text));
}

/** Warnings after which libjpeg goes on with made-up pixels; the others are about stray bytes. */
static void on_message(j_common_ptr info, int level)
{
    struct job *job = info->client_data;
    if (level >= 0)
        return;
    switch (info->err->msg_code) {
    case JWRN_JPEG_EOF:
        leave(job, q8_picture_fail(job->err, job->in, "truncated JPEG: premature end of file"));
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_MUST_RESYNC:
        on_error(info);
    default:
        break;
    }
}

static void on_progress(j_common_ptr info)
{
    struct job *job = info->client_data;
    if (job->info.input_scan_number > Q8_MAX_JPEG_SCANS)
        leave(job, q8_picture_fail(
                       job->err, job->in,
                       "JPEG with more than %d scans (Q8_MAX_JPEG_SCANS in src/base/limits.h)",
                       Q8_MAX_JPEG_SCANS));
}

/** CMYK as OpenCV reads it: stored inverted, as Adobe does and thereby everybody. */
static void cmyk_to_rgb(const unsigned char *cmyk, unsigned char *rgb, int width)
{
    for (int x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        const int k = cmyk[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (unsigned char)(k - ((255 - cmyk[c]) * k >> 8));
    }
}

static void read_rows(struct job *job)
{
    struct jpeg_decompress_struct *info = &job->info;
    const q8_picture *picture = job->picture;
    const bool cmyk = info->out_color_space == JCS_CMYK;
    JSAMPARRAY cmyk_row = NULL;
    if (cmyk)
        cmyk_row = info->mem->alloc_sarray((j_common_ptr)info, JPOOL_IMAGE,
                                           (JDIMENSION)picture->width * 4, 1);
    while (info->output_scanline < info->output_height) {
        JSAMPROW row = picture->rgb + (size_t)info->output_scanline * (size_t)picture->width * 3;
        jpeg_read_scanlines(info, cmyk ? cmyk_row : &row, 1);
        if (cmyk)
            cmyk_to_rgb(cmyk_row[0], row, picture->width);
    }
}

static q8_code run(struct job *job)
{
    struct jpeg_decompress_struct *info = &job->info;
    if (setjmp(job->escape))
        return job->code;
    jpeg_create_decompress(info);
    info->progress = &job->progress;
    jpeg_mem_src(info, job->in->data, (unsigned long)job->in->size);
    jpeg_read_header(info, TRUE);
    q8_code code =
        q8_picture_alloc(job->picture, job->in, info->image_width, info->image_height, job->err);
    if (code != Q8_OK)
        return code;
    info->out_color_space = info->num_components == 4 ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(info);
    read_rows(job);
    jpeg_finish_decompress(info);
    return Q8_OK;
}

static q8_code decode(q8_picture *picture, const q8_encoded *in, q8_err *err)
{
    struct job job = {.picture = picture, .in = in, .err = err};
    job.info.err = jpeg_std_error(&job.errors);
    job.info.client_data = &job;
    job.errors.error_exit = on_error;
    job.errors.emit_message = on_message;
    job.progress.progress_monitor = on_progress;
    q8_code code = run(&job);
    jpeg_destroy_decompress(&job.info);
    return code;
}

static bool probe(const unsigned char *data, size_t size)
{
    return size >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff;
}

/** Segments come one after the other until the picture's own data: 0xff, a kind, a size. */
static const unsigned char *find_exif(const unsigned char *data, size_t size, size_t *exif_size)
{
    enum { APP1 = 0xe1, SOS = 0xda, EOI = 0xd9 };
    size_t at = 2;
    while (size - at >= 4 && data[at] == 0xff && data[at + 1] != SOS && data[at + 1] != EOI) {
        if (data[at + 1] == 0xff) { /* fill bytes may stand in front */
            at++;
            continue;
        }
        const size_t length = (size_t)(data[at + 2] << 8 | data[at + 3]); /* its own bytes too */
        if (length < 2 || length > size - at - 2)
            return NULL;
        if (data[at + 1] == APP1 && length >= 8 && memcmp(data + at + 4, "Exif\0\0", 6) == 0) {
            *exif_size = length - 2;
            return data + at + 4;
        }
        at += 2 + length;
    }
    return NULL;
}

static const char *const extensions[] = {"jpg", "jpeg", NULL};

const q8_decoder q8_decode_jpeg = {"JPEG", extensions, probe, decode, find_exif};
