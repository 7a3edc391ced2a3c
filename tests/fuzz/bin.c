/* The .bin of a fixed .param with layers of every storage: what was read is written and read
 * again. */
#include "fuzz.h"

static const char param[] = "7767517\n"
                            "11 11\n"
                            "Input data 0 1 data 0=3 1=3 2=2\n"
                            "Convolution float 1 1 data a 0=2 1=1 5=1 6=4\n"
                            "Convolution int8 1 1 a b 0=2 1=1 5=1 6=4 8=2\n"
                            "Convolution handed_on 1 1 b c 0=2 1=1 6=4 8=102\n"
                            "ConvolutionDepthWise dw 1 1 c d 0=2 1=1 6=2 7=2 8=1\n"
                            "BatchNorm bn 1 1 d e 0=2\n"
                            "Scale scale 1 1 e f 0=2 1=1\n"
                            "PReLU prelu 1 1 f g 0=2\n"
                            "Deconvolution de 1 1 g h 0=2 1=1 6=4\n"
                            "InnerProduct fc 1 1 h i 0=1 2=18 8=2\n"
                            "InnerProduct out 1 1 i out 0=2 2=2\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_ncnn(param, sizeof(param) - 1, data, size);
    return 0;
}
