/** Turning and mirroring a picture. */
#include <stdlib.h>
#include <string.h>

#include "calib/picture.h"

/** Pixels are copied in squares, since source and target rows may run across each other. */
enum { SQUARE = 32 };

/** Where the pixel of column x and row y comes from: perhaps of column y and row x, each perhaps
 *  counted from the other end. By EXIF's orientation. */
static const struct turn {
    bool swap, flip_x, flip_y;
} turns[9] = {
    [2] = {false, true, false}, [3] = {false, true, true}, [4] = {false, false, true},
    [5] = {true, false, false}, [6] = {true, false, true}, [7] = {true, true, true},
    [8] = {true, true, false},
};

/** The source as seen from the target: bytes from the first pixel, and from column to column and
 *  row to row. */
struct walk {
    const unsigned char *first;
    ptrdiff_t column, row;
};

static struct walk walk_of(const q8_picture *src, const struct turn *turn)
{
    const ptrdiff_t pixel = turn->flip_x ? -3 : 3;
    const ptrdiff_t line = (ptrdiff_t)src->width * (turn->flip_y ? -3 : 3);
    struct walk walk = {src->rgb, turn->swap ? line : pixel, turn->swap ? pixel : line};
    if (turn->flip_x)
        walk.first += (ptrdiff_t)(src->width - 1) * 3;
    if (turn->flip_y)
        walk.first += (ptrdiff_t)(src->height - 1) * src->width * 3;
    return walk;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void copy_square(const struct walk *walk, q8_picture *dst, int x0, int y0)
{
    const int x1 = least(x0 + SQUARE, dst->width), y1 = least(y0 + SQUARE, dst->height);
    for (int y = y0; y < y1; y++) {
        unsigned char *to = dst->rgb + ((size_t)y * (size_t)dst->width + (size_t)x0) * 3;
        for (int x = x0; x < x1; x++, to += 3)
            memcpy(to, walk->first + x * walk->column + y * walk->row, 3);
    }
}

q8_code q8_picture_orient(q8_picture *picture, int orientation, q8_err *err)
{
    if (orientation < 2 || orientation > 8)
        return Q8_OK;
    const struct turn *turn = &turns[orientation];
    q8_picture turned = {0};
    const q8_code code = q8_picture_make(&turned, turn->swap ? picture->height : picture->width,
                                         turn->swap ? picture->width : picture->height, err);
    if (code)
        return code;
    const struct walk walk = walk_of(picture, turn);
    for (int y = 0; y < turned.height; y += SQUARE)
        for (int x = 0; x < turned.width; x += SQUARE)
            copy_square(&walk, &turned, x, y);
    q8_picture_free(picture);
    *picture = turned;
    return Q8_OK;
}
