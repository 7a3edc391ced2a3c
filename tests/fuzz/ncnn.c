/* An ncnn model: the .param text, a zero byte, the .bin. What was read is written and read again.
 */
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    if (zero)
        fuzz_ncnn(data, (size_t)(zero - data), zero + 1, size - (size_t)(zero - data) - 1);
    else
        fuzz_ncnn(data, size, data, 0);
    return 0;
}
