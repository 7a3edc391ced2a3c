#include "report/png.h"

#include <png.h>
#include <stdlib.h>

q8_code q8_png_write(q8_buf *buf, const unsigned char *pixels, int width, int height, bool gray,
                     q8_err *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = gray ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(image);
    void *bytes = malloc(size);
    if (!bytes)
        return q8_fail_nomem(err);
    q8_code code = Q8_OK;
    if (png_image_write_to_memory(&image, bytes, &size, 0, pixels, 0, NULL))
        q8_buf_add(buf, bytes, size);
    else
        code = q8_fail(err, Q8_EINTERNAL, NULL, NULL, "libpng: %s", image.message);
    free(bytes);
    return code;
}
