#include "base/words.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

enum { LONGEST = 127 };

size_t q8_word_distance(const char *a, const char *b)
{
    const size_t n_a = strlen(a), n_b = strlen(b);
    size_t row[LONGEST + 1];
    if (n_a > LONGEST || n_b > LONGEST)
        return SIZE_MAX;
    for (size_t k = 0; k <= n_b; k++)
        row[k] = k;
    for (size_t i = 0; i < n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t k = 0; k < n_b; k++) {
            const int same = tolower((unsigned char)a[i]) == tolower((unsigned char)b[k]);
            const size_t replace = diagonal + !same;
            const size_t other = (row[k] < row[k + 1] ? row[k] : row[k + 1]) + 1;
            diagonal = row[k + 1];
            row[k + 1] = replace < other ? replace : other;
        }
    }
    return row[n_b];
}
