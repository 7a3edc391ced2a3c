/* An ncnn model: the .param text, a zero byte, the .bin. What was read is written and read again.
 */
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    const size_t param_size = zero ? (size_t)(zero - data) : size;
    fuzz_ncnn(data, param_size, zero ? zero + 1 : data, zero ? size - param_size - 1 : 0);
    return 0;
}
