/* OpenCL's entry points and its errors. */
#ifdef Q8_HAVE_OPENCL

#include "exec/opencl.h"

#include <stdio.h>

q8_cl_calls q8_cl = {
#define X(name) .name = name,
    Q8_CL_CALLS(X)
#undef X
};

const char *q8_cl_status(cl_int status)
{
    static const struct {
        cl_int status;
        const char *name;
    } names[] = {
#define STATUS(name) {CL_##name, "CL_" #name}
        STATUS(DEVICE_NOT_FOUND),        STATUS(DEVICE_NOT_AVAILABLE),
        STATUS(COMPILER_NOT_AVAILABLE),  STATUS(MEM_OBJECT_ALLOCATION_FAILURE),
        STATUS(OUT_OF_RESOURCES),        STATUS(OUT_OF_HOST_MEMORY),
        STATUS(BUILD_PROGRAM_FAILURE),   STATUS(INVALID_VALUE),
        STATUS(INVALID_DEVICE),          STATUS(INVALID_CONTEXT),
        STATUS(INVALID_COMMAND_QUEUE),   STATUS(INVALID_MEM_OBJECT),
        STATUS(INVALID_BINARY),          STATUS(INVALID_KERNEL_NAME),
        STATUS(INVALID_KERNEL_ARGS),     STATUS(INVALID_ARG_SIZE),
        STATUS(INVALID_WORK_GROUP_SIZE), STATUS(INVALID_BUFFER_SIZE),
        STATUS(INVALID_OPERATION),
#undef STATUS
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].status == status)
            return names[i].name;
    return "an error without a name";
}

static bool is_memory(cl_int status)
{
    return status == CL_MEM_OBJECT_ALLOCATION_FAILURE || status == CL_OUT_OF_HOST_MEMORY ||
           status == CL_INVALID_BUFFER_SIZE;
}

q8_code q8_cl_fail(const q8_gpu *gpu, const char *what, cl_int status, q8_err *err)
{
    if (is_memory(status))
        return q8_fail(err, Q8_ENOMEM, NULL, NULL,
                       "OpenCL device '%s', which has %llu MiB: too little memory to %s (%s); "
                       "free some, use a smaller --batch, fewer --threads, another --device, or "
                       "--gpu 0",
                       gpu->info.name, (unsigned long long)(gpu->info.memory >> 20), what,
                       q8_cl_status(status));
    return q8_fail(err, Q8_EDEVICE, NULL, NULL,
                   "OpenCL device '%s': cannot %s (%s, %d); if it was lost (a crash, a reset, "
                   "unplugged), see whether clinfo still finds it, or use --gpu 0",
                   gpu->info.name, what, q8_cl_status(status), (int)status);
}

#endif
