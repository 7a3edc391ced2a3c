/* What is said where there is no GPU to be had. */
#include "exec/gpu.h"

q8_code q8_gpu_fail_not_built(q8_err *err)
{
    return q8_fail(
        err, Q8_EUNSUPPORTED, NULL, NULL,
        "this program was built without its GPU backend: install OpenCL and CLBlast "
        "(Debian: ocl-icd-opencl-dev opencl-c-headers libclblast-dev), build it again with "
        "-DQ8_OPENCL=ON, or use --gpu 0");
}

q8_code q8_gpu_fail_no_device(unsigned platforms, q8_err *err)
{
    if (platforms == 0)
        return q8_fail(err, Q8_EDEVICE, NULL, NULL,
                       "no OpenCL driver is installed: install that of your card (NVIDIA's and "
                       "AMD's come with theirs; Intel: intel-opencl-icd; for a processor "
                       "pocl-opencl-icd), look at what clinfo finds, or use --gpu 0");
    return q8_fail(err, Q8_EDEVICE, NULL, NULL,
                   "OpenCL has %u driver%s but no device: look at what clinfo finds (is the card's "
                   "kernel module loaded, may this user open /dev/dri/* or /dev/nvidia*?), or use "
                   "--gpu 0",
                   platforms, platforms == 1 ? "" : "s");
}

q8_code q8_gpu_fail_no_such_device(int device, size_t n, q8_err *err)
{
    return q8_fail(
        err, Q8_EINVAL, NULL, NULL,
        "there is no OpenCL device %d: there %s %zu, counted from 0; --device list shows "
        "%s",
        device, n == 1 ? "is" : "are", n, n == 1 ? "it" : "them");
}
