/** The one thing of a picture's EXIF data that changes its pixels: which side is up. */
#ifndef Q8_CALIB_EXIF_H
#define Q8_CALIB_EXIF_H

#include <stddef.h>

/**
 * @param exif a TIFF header and what follows it, perhaps behind "Exif\0\0"
 * @return 1 to 8 as the tag says; 1, which changes nothing, when there is none or the data is
 * damaged
 */
int q8_exif_orientation(const unsigned char *exif, size_t size);

#endif
