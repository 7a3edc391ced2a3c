/* A small network with weights as an ncnn model, for the tests of reading and writing. */
#ifndef Q8_TEST_NCNN_NET_H
#define Q8_TEST_NCNN_NET_H

#include "ncnn/ncnn.h"

/* As q8_ncnn_param() lays it out. */
static const char net_param[] =
    "7767517\n"
    "11 12\n"
    "Input            data                     0 1 data 0=8 1=8 2=3\n"
    "Convolution      conv1                    1 1 data conv1 0=8 1=3 4=1 5=1 6=216 9=1\n"
    "Split            split_conv1              1 2 conv1 conv1_split_0 conv1_split_1\n"
    "Pooling          pool_max                 1 1 conv1_split_0 pool_max 1=2 2=2 5=1\n"
    "Pooling          pool_ave                 1 1 conv1_split_1 pool_ave 0=1 1=2 2=2 5=1\n"
    "Concat           cat                      2 1 pool_max pool_ave cat\n"
    "ConvolutionDepthWise dw                       1 1 cat dw 0=16 1=3 4=1 5=1 6=144 7=16 9=2"
    " -23310=1,0.1\n"
    "PReLU            prelu                    1 1 dw prelu 0=16\n"
    "Clip             clip                     1 1 prelu clip 0=-1.5\n"
    "InnerProduct     fc                       1 1 clip fc 0=10 1=1 2=2560\n"
    "Softmax          prob                     1 1 fc prob 1=1\n";

enum { NET_CONV1 = 1, NET_DW = 6, NET_PRELU = 7, NET_CLIP = 8, NET_FC = 9 };

static void add_tag(q8_buf *bin, uint32_t tag)
{
    const unsigned char b[] = {(unsigned char)tag, (unsigned char)(tag >> 8),
                               (unsigned char)(tag >> 16), (unsigned char)(tag >> 24)};
    q8_buf_add(bin, b, 4);
}

static void add_values(q8_buf *bin, int n)
{
    for (int i = 0; i < n; i++) {
        const float value = (float)((int)(bin->size * 7 + (size_t)i) % 201 - 100) / 128;
        q8_buf_add(bin, &value, 4);
    }
}

/* The weights of `net_param` in fp32. To be freed. */
static q8_buf net_bin(void)
{
    q8_buf bin = {0};
    static const int tagged[][2] = {{216, 8}, {144, 16}, {0, 16}, {2560, 10}};
    for (int i = 0; i < 4; i++) {
        if (tagged[i][0])
            add_tag(&bin, 0);
        add_values(&bin, tagged[i][0]);
        add_values(&bin, tagged[i][1]);
    }
    return bin;
}

static q8_code net_read(q8_graph **graph, const char *param, const q8_buf *bin, q8_arena *arena,
                        q8_err *err)
{
    *err = (q8_err){0};
    return q8_ncnn_read(graph, "net.param", param, strlen(param), "net.bin", bin->data, bin->size,
                        arena, err);
}

#endif
