/* A stub of the CUDA driver (libcuda.so.1): two devices that nothing can be run on.
 *
 * It answers just what TensorFlow asks before it lists a GPU, for which it first opens every CUDA
 * library it needs. Any other call fails to link: nothing here computes, and it is never part of
 * an image.
 *
 *   STUB_CUDA_DEVICES     how many devices there are; default 2
 *   STUB_CUDA_CAPABILITY  their compute capability, default 80 (8.0)
 */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_DEVICE = 101, NOT_FOUND = 500 };
enum { MAJOR = 75, MINOR = 76, MULTIPROCESSORS = 16, CLOCK = 13, PCI_BUS = 33, PCI_DEVICE = 34 };

static int number(const char *name, int otherwise) {
    const char *value = getenv(name);
    return value && *value ? atoi(value) : otherwise;
}

static int known(int device) { return device >= 0 && device < number("STUB_CUDA_DEVICES", 2); }

int cuInit(unsigned flags) { (void)flags; return SUCCESS; }

int cuDriverGetVersion(int *version) { *version = 12040; return SUCCESS; }

int cuDeviceGetCount(int *count) { *count = number("STUB_CUDA_DEVICES", 2); return SUCCESS; }

int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return known(ordinal) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, "a stub, no GPU", (size_t)size);
    return known(device) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = (size_t)16 << 30;
    return known(device) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int capability = number("STUB_CUDA_CAPABILITY", 80);
    switch (attribute) {
    case MAJOR: *value = capability / 10; break;
    case MINOR: *value = capability % 10; break;
    case MULTIPROCESSORS: *value = 108; break;
    case CLOCK: *value = 1410000; break;
    case PCI_BUS: *value = 1 + device; break;
    case PCI_DEVICE: *value = 0; break;
    default: *value = 1;
    }
    return known(device) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetPCIBusId(char *id, int size, int device) {
    strncpy(id, device ? "0000:02:00.0" : "0000:01:00.0", (size_t)size);
    return known(device) ? SUCCESS : INVALID_DEVICE;
}

int cuGetErrorName(int error, const char **name) { (void)error; *name = "STUB"; return SUCCESS; }

int cuGetErrorString(int error, const char **text) {
    (void)error;
    *text = "this is a stub of the CUDA driver";
    return SUCCESS;
}
