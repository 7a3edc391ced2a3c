/* The program of all kernels, and its cache on disk.
 *
 * An entry is what the driver made of the source, behind a header. Nothing of it is trusted: the
 * key, the length and a checksum must agree, the driver must take it, and all kernels must be in
 * it; else it is compiled anew and replaced. Without a place to write there is no cache. */
#ifdef Q8_HAVE_OPENCL

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/replace.h"
#include "exec/opencl.h"

#define OPTIONS "-cl-std=CL1.2"
#define MAGIC   "q8-opencl-1"

enum { MAX_ENTRY = 64 << 20 };

struct header {
    char magic[16];
    uint64_t key, size, hash;
};

static void device_text(cl_device_id device, cl_device_info what, char *text, size_t size)
{
    if (clGetDeviceInfo(device, what, size, text, NULL) != CL_SUCCESS)
        text[0] = '\0';
    text[size - 1] = '\0';
}

/* Whatever may change what the compiler makes. */
static uint64_t key_of(const q8_gpu *gpu)
{
    static const cl_device_info facts[] = {CL_DEVICE_NAME, CL_DEVICE_VENDOR, CL_DEVICE_VERSION,
                                           CL_DRIVER_VERSION};
    char text[512];
    uint64_t key = q8_hash_text(0, gpu->info.platform);
    for (size_t i = 0; i < sizeof(facts) / sizeof(facts[0]); i++) {
        device_text(gpu->device, facts[i], text, sizeof(text));
        key = q8_hash_text(key, text);
    }
    if (clGetPlatformInfo(gpu->platform, CL_PLATFORM_VERSION, sizeof(text), text, NULL))
        text[0] = '\0';
    return q8_hash_text(q8_hash_text(q8_hash_text(key, text), OPTIONS), q8_cl_source);
}

/* --- the cache -------------------------------------------------------------------------------- */

/* The entry's path; its folders are made. False: there is no place for it. */
static bool entry_path(uint64_t key, char *path, size_t size)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char folder[3500];
    const bool given = cache && cache[0] == '/'; /* relative ones do not count, says the XDG */
    if (!given && (!home || home[0] != '/'))
        return false;
    int n = given ? snprintf(folder, sizeof(folder), "%s", cache)
                  : snprintf(folder, sizeof(folder), "%s/.cache", home);
    if (n < 0 || (size_t)n + 64 > sizeof(folder))
        return false;
    mkdir(folder, 0700);
    snprintf(folder + n, sizeof(folder) - (size_t)n, "/caffe-int8-to-ncnn");
    mkdir(folder, 0700);
    n = snprintf(path, size, "%s/%016llx.clbin", folder, (unsigned long long)key);
    return n > 0 && (size_t)n < size;
}

/* The program from an entry, if that is one for this key; else NULL. */
static cl_program program_from(const q8_gpu *gpu, const q8_bytes *bytes, uint64_t key)
{
    struct header header;
    if (bytes->size < sizeof(header))
        return NULL;
    memcpy(&header, bytes->data, sizeof(header));
    const unsigned char *binary = bytes->data + sizeof(header);
    const size_t size = bytes->size - sizeof(header);
    if (strncmp(header.magic, MAGIC, sizeof(header.magic)) != 0 || header.key != key ||
        header.size != size || header.hash != q8_hash(0, binary, size))
        return NULL;
    cl_int status, binary_status;
    return q8_cl.clCreateProgramWithBinary(gpu->context, 1, &gpu->device, &size, &binary,
                                           &binary_status, &status);
}

/* No cache is no error. */
static cl_program load(const q8_gpu *gpu, const char *path, uint64_t key)
{
    q8_bytes bytes = {0};
    q8_err ignored = {0};
    cl_program program = NULL;
    if (q8_file_read(&bytes, path, MAX_ENTRY, &ignored) == Q8_OK)
        program = program_from(gpu, &bytes, key);
    q8_bytes_free(&bytes);
    return program;
}

static void store(const q8_gpu *gpu, const char *path, uint64_t key)
{
    size_t size = 0;
    q8_err ignored = {0};
    if (clGetProgramInfo(gpu->program, CL_PROGRAM_BINARY_SIZES, sizeof(size), &size, NULL) ||
        size == 0 || size > MAX_ENTRY)
        return;
    unsigned char *entry = malloc(sizeof(struct header) + size);
    if (!entry)
        return;
    unsigned char *binary = entry + sizeof(struct header);
    if (clGetProgramInfo(gpu->program, CL_PROGRAM_BINARIES, sizeof(binary), &binary, NULL) ==
        CL_SUCCESS) {
        const struct header header = {
            .magic = MAGIC, .key = key, .size = size, .hash = q8_hash(0, binary, size)};
        memcpy(entry, &header, sizeof(header));
        q8_file_replace(path, entry, sizeof(header) + size, &ignored);
    }
    free(entry);
}

/* --- compiling -------------------------------------------------------------------------------- */

static cl_int build(q8_gpu *gpu)
{
    return q8_cl.clBuildProgram(gpu->program, 1, &gpu->device, OPTIONS, NULL, NULL);
}

static bool is_whole(const q8_gpu *gpu)
{
    cl_uint n = 0;
    cl_kernel kernel[Q8_CL_N_KERNELS];
    const cl_int status = clCreateKernelsInProgram(gpu->program, Q8_CL_N_KERNELS, kernel, &n);
    for (cl_uint i = 0; !status && i < n; i++)
        clReleaseKernel(kernel[i]);
    return !status && n == Q8_CL_N_KERNELS;
}

static void drop_program(q8_gpu *gpu)
{
    if (gpu->program)
        clReleaseProgram(gpu->program);
    gpu->program = NULL;
}

/* The first lines of what the compiler has to say. */
static q8_code fail_build(const q8_gpu *gpu, cl_int status, q8_err *err)
{
    char *log = NULL;
    size_t size = 0;
    clGetProgramBuildInfo(gpu->program, gpu->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
    if (size > 0 && (log = calloc(1, size + 1)))
        clGetProgramBuildInfo(gpu->program, gpu->device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
    const q8_code code =
        q8_fail(err, Q8_EDEVICE, NULL, NULL,
                "OpenCL device '%s': its driver (%s) cannot compile the kernels (%s, %d); a newer "
                "driver may, or use --gpu 0%s%.600s",
                gpu->info.name, gpu->info.driver, q8_cl_status(status), (int)status,
                log && *log ? ": " : "", log ? log : "");
    free(log);
    return code;
}

static q8_code compile(q8_gpu *gpu, q8_err *err)
{
    const char *source = q8_cl_source;
    cl_int status;
    gpu->program = q8_cl.clCreateProgramWithSource(gpu->context, 1, &source, NULL, &status);
    if (!gpu->program)
        return q8_cl_fail(gpu, "take the kernels", status, err);
    status = build(gpu);
    return status ? fail_build(gpu, status, err) : Q8_OK;
}

q8_code q8_cl_program(q8_gpu *gpu, q8_err *err)
{
    char path[4096];
    const uint64_t key = key_of(gpu);
    const bool cached = entry_path(key, path, sizeof(path));
    gpu->program = cached ? load(gpu, path, key) : NULL;
    if (gpu->program && build(gpu) == CL_SUCCESS && is_whole(gpu))
        return Q8_OK;
    drop_program(gpu);
    const q8_code code = compile(gpu, err);
    if (!code && cached)
        store(gpu, path, key);
    return code;
}

#endif
