/* Which devices there are, and opening one. */
#ifdef Q8_HAVE_OPENCL

#include <stdlib.h>
#include <string.h>

#include "exec/opencl.h"

/* A device and whose it is. */
struct found {
    cl_platform_id platform;
    cl_device_id device;
};

struct devices {
    struct found *found;
    size_t n;
    cl_uint platforms;
};

/* --- what there is ---------------------------------------------------------------------------- */

static q8_code add_devices(struct devices *all, cl_platform_id platform, q8_err *err)
{
    cl_uint n = 0;
    /* A platform without a device is no error. */
    if (q8_cl.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &n) != CL_SUCCESS || n == 0)
        return Q8_OK;
    cl_device_id *ids = calloc(n, sizeof(*ids));
    struct found *more = realloc(all->found, (all->n + n) * sizeof(*more));
    if (more)
        all->found = more;
    if (!ids || !more) {
        free(ids);
        return q8_fail_nomem(err);
    }
    if (q8_cl.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, n, ids, NULL) == CL_SUCCESS)
        for (cl_uint i = 0; i < n; i++)
            all->found[all->n++] = (struct found){platform, ids[i]};
    free(ids);
    return Q8_OK;
}

/* All devices of all platforms; none is an error. */
static q8_code find_devices(struct devices *all, q8_err *err)
{
    *all = (struct devices){0};
    if (q8_cl.clGetPlatformIDs(0, NULL, &all->platforms) != CL_SUCCESS)
        all->platforms = 0;
    cl_platform_id *platform = calloc((size_t)all->platforms + 1, sizeof(*platform));
    q8_code code = platform ? Q8_OK : q8_fail_nomem(err);
    if (!code && all->platforms > 0 &&
        q8_cl.clGetPlatformIDs(all->platforms, platform, NULL) != CL_SUCCESS)
        all->platforms = 0;
    for (cl_uint i = 0; i < all->platforms && !code; i++)
        code = add_devices(all, platform[i], err);
    free(platform);
    if (!code && all->n == 0)
        code = q8_gpu_fail_no_device(all->platforms, err);
    return code;
}

static void device_text(cl_device_id device, cl_device_info what, char *text, size_t size)
{
    if (clGetDeviceInfo(device, what, size, text, NULL) != CL_SUCCESS)
        text[0] = '\0';
    text[size - 1] = '\0';
}

static q8_gpu_info describe(const struct found *found)
{
    q8_gpu_info info = {.memory = 0};
    cl_ulong memory = 0;
    cl_device_type type = 0;
    device_text(found->device, CL_DEVICE_NAME, info.name, sizeof(info.name));
    device_text(found->device, CL_DRIVER_VERSION, info.driver, sizeof(info.driver));
    if (clGetPlatformInfo(found->platform, CL_PLATFORM_NAME, sizeof(info.platform), info.platform,
                          NULL) != CL_SUCCESS)
        info.platform[0] = '\0';
    clGetDeviceInfo(found->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(memory), &memory, NULL);
    clGetDeviceInfo(found->device, CL_DEVICE_TYPE, sizeof(type), &type, NULL);
    info.memory = memory;
    info.is_gpu = (type & CL_DEVICE_TYPE_GPU) != 0;
    return info;
}

q8_code q8_gpu_list(q8_gpu_info **list, size_t *n, q8_err *err)
{
    struct devices all;
    *list = NULL;
    *n = 0;
    q8_code code = find_devices(&all, err);
    if (!code && !(*list = calloc(all.n, sizeof(**list))))
        code = q8_fail_nomem(err);
    for (size_t i = 0; i < all.n && !code; i++)
        (*list)[i] = describe(&all.found[i]);
    *n = code ? 0 : all.n;
    free(all.found);
    return code;
}

/* --- one of them ------------------------------------------------------------------------------ */

static q8_code choose(const struct devices *all, int device, size_t *index, q8_err *err)
{
    *index = 0;
    if (device != Q8_GPU_ANY && (device < 0 || (size_t)device >= all->n))
        return q8_gpu_fail_no_such_device(device, all->n, err);
    if (device != Q8_GPU_ANY)
        *index = (size_t)device;
    for (size_t i = all->n; device == Q8_GPU_ANY && i-- > 0;)
        if (describe(&all->found[i]).is_gpu)
            *index = i;
    return Q8_OK;
}

static q8_code open_device(q8_gpu *gpu, const struct found *found, q8_err *err)
{
    cl_int status;
    gpu->platform = found->platform;
    gpu->device = found->device;
    gpu->info = describe(found);
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)found->platform, 0};
    gpu->context = q8_cl.clCreateContext(properties, 1, &gpu->device, NULL, NULL, &status);
    if (!gpu->context)
        return q8_cl_fail(gpu, "open it", status, err);
    gpu->queue = q8_cl.clCreateCommandQueue(gpu->context, gpu->device, 0, &status);
    return gpu->queue ? q8_cl_program(gpu, err) : q8_cl_fail(gpu, "make a queue", status, err);
}

q8_code q8_gpu_open(q8_gpu **out, int device, q8_err *err)
{
    struct devices all;
    size_t index = 0;
    q8_gpu *gpu = NULL;
    q8_code code = find_devices(&all, err);
    if (!code)
        code = choose(&all, device, &index, err);
    if (!code && !(gpu = calloc(1, sizeof(*gpu))))
        code = q8_fail_nomem(err);
    if (!code)
        code = open_device(gpu, &all.found[index], err);
    free(all.found);
    if (code)
        q8_gpu_close(&gpu);
    *out = gpu;
    return code;
}

void q8_gpu_close(q8_gpu **gpu)
{
    if (!*gpu)
        return;
    if ((*gpu)->program)
        clReleaseProgram((*gpu)->program);
    if ((*gpu)->queue)
        clReleaseCommandQueue((*gpu)->queue);
    if ((*gpu)->context)
        clReleaseContext((*gpu)->context);
    free(*gpu);
    *gpu = NULL;
}

q8_gpu_info q8_gpu_describe(const q8_gpu *gpu)
{
    return gpu->info;
}

#endif
