#include "device_peak.h"

#ifdef Q8_HAVE_OPENCL
#include <stdio.h>
#include <time.h>

#include "exec/opencl.h"

enum { ITEMS = 1 << 16, GROUP = 256, TIMES = 1 << 12, WIDE = 8 * 4, ROUNDS = 5 };

/* WIDE chains for each work-item, so that one does not wait for another. */
static const char source[] =
    "__kernel void peak(__global float *out, float x, int times) {"
    "  float4 s[8];"
    "  for (int i = 0; i < 8; i++) s[i] = (float4)(i, i + 1, i + 2, get_global_id(0));"
    "  for (int k = 0; k < times; k++)"
    "    for (int i = 0; i < 8; i++) s[i] = mad(s[i], (float4)(x), (float4)(1e-7f));"
    "  float4 sum = 0;"
    "  for (int i = 0; i < 8; i++) sum += s[i];"
    "  out[get_global_id(0)] = sum.x + sum.y + sum.z + sum.w;"
    "}";

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds_of(const q8_gpu *gpu, cl_kernel kernel)
{
    const size_t items = ITEMS, group = GROUP;
    const double start = now();
    if (clEnqueueNDRangeKernel(gpu->queue, kernel, 1, NULL, &items, &group, 0, NULL, NULL) ||
        clFinish(gpu->queue))
        return 0;
    return now() - start;
}

double device_peak(q8_gpu *gpu)
{
    const char *text = source;
    const float x = 0.999F;
    const int times = TIMES;
    double best = 0;
    cl_program program = clCreateProgramWithSource(gpu->context, 1, &text, NULL, NULL);
    cl_mem out = clCreateBuffer(gpu->context, CL_MEM_READ_WRITE, ITEMS * sizeof(float), NULL, NULL);
    cl_kernel kernel = NULL;
    if (program && out && !clBuildProgram(program, 1, &gpu->device, NULL, NULL, NULL))
        kernel = clCreateKernel(program, "peak", NULL);
    if (kernel && !clSetKernelArg(kernel, 0, sizeof(out), &out) &&
        !clSetKernelArg(kernel, 1, sizeof(x), &x) &&
        !clSetKernelArg(kernel, 2, sizeof(times), &times))
        for (int i = 0; i < ROUNDS; i++) {
            const double seconds = seconds_of(gpu, kernel);
            const double gflops = seconds > 0 ? 2e-9 * ITEMS * TIMES * WIDE / seconds : 0;
            best = gflops > best ? gflops : best;
        }
    if (kernel)
        clReleaseKernel(kernel);
    if (out)
        clReleaseMemObject(out);
    if (program)
        clReleaseProgram(program);
    return best;
}
#else
double device_peak(q8_gpu *gpu)
{
    (void)gpu;
    return 0;
}
#endif
