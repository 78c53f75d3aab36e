/* A stub of NVML (libnvidia-ml.so.1): answers for GPUs that the environment describes.
 *
 *   STUB_NVML_DRIVER  version of the driver; default 550.54.14
 *   STUB_NVML_CUDA    CUDA version it implements, as NVML has it; default 12040
 *   STUB_NVML_INIT    error code of nvmlInit; 9: the driver is not loaded
 *   STUB_NVML_COUNT   error code of nvmlDeviceGetCount
 *   STUB_NVML_GPUS    one GPU after another, with ";" between them:
 *                     NAME,CAPABILITY,MEMORY[,OPTION...], such as "NVIDIA A100,8.0,40960"
 *
 * MEMORY is in MiB. An OPTION is "mig", for a GPU in MIG mode, "slice=MEMORY" for each of its
 * slices, or "QUERY=CODE", for a GPU whose handle, uuid, name, memory, capability or mig cannot
 * be had: the call that asks for it returns that error code. 15 is a GPU that was lost.
 *
 * No GPU operation can be run on it, and it is never part of an image.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NOT_FOUND = 6 };
enum { GPUS = 16, SLICES = 8, SIZE = 256 };

typedef void *handle_t;
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory2_t;
typedef struct {
    char legacy[16];
    unsigned domain, bus, device, id, subsystem;
    char text[32];
} pci_t;

static const char *given(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

/* Copy field `number` of `text`, cut at `separator`; false when there is none. */
static int field(const char *text, char separator, int number, char *out) {
    for (; number > 0; number--) {
        text = strchr(text, separator);
        if (!text) return 0;
        text++;
    }
    const char *end = strchr(text, separator);
    size_t size = end ? (size_t)(end - text) : strlen(text);
    if (!*text || size >= SIZE) return 0;
    memcpy(out, text, size);
    out[size] = 0;
    return 1;
}

static int gpu(int index, char *out) {
    return index < GPUS && field(given("STUB_NVML_GPUS", ""), ';', index, out);
}

/* The value of the option `name` that comes after `skip` others of that name, or NULL. */
static const char *option(const char *described, const char *name, int skip) {
    static char value[SIZE];
    char word[SIZE];
    size_t size = strlen(name);
    for (int i = 3; field(described, ',', i, word); i++) {
        if (strncmp(word, name, size) || (word[size] && word[size] != '=')) continue;
        if (skip-- == 0) return strcpy(value, word + size + (word[size] == '='));
    }
    return NULL;
}

static handle_t handle(int index, int slice) {
    return (handle_t)(uintptr_t)(1 + index * (SLICES + 1) + slice);
}
static int index_of(handle_t h) { return (int)(((uintptr_t)h - 1) / (SLICES + 1)); }
static int slice_of(handle_t h) { return (int)(((uintptr_t)h - 1) % (SLICES + 1)); }

/* Look a device up for `query`; whatever the description says must fail, fails. */
static int look(handle_t h, const char *query, char *described) {
    if (!h || !gpu(index_of(h), described)) return INVALID_ARGUMENT;
    const char *code = option(described, query, 0);
    return code && *code ? atoi(code) : SUCCESS;
}

static int put(const char *text, char *out, unsigned size) {
    return snprintf(out, size, "%s", text) < (int)size ? SUCCESS : 7 /* too small a buffer */;
}

const char *nvmlErrorString(int code) {
    switch (code) {
    case SUCCESS: return "Success";
    case NOT_SUPPORTED: return "Not Supported";
    case NOT_FOUND: return "Not Found";
    case 9: return "Driver Not Loaded";
    case 15: return "GPU is lost";
    case 999: return "Unknown Error";
    default: return "Stub Error";
    }
}

int nvmlInit_v2(void) { return atoi(given("STUB_NVML_INIT", "0")); }
int nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
int nvmlShutdown(void) { return SUCCESS; }

int nvmlSystemGetDriverVersion(char *out, unsigned size) {
    return put(given("STUB_NVML_DRIVER", "550.54.14"), out, size);
}
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { return put("12.550.54.14", out, size); }
int nvmlSystemGetCudaDriverVersion_v2(int *out) {
    *out = atoi(given("STUB_NVML_CUDA", "12040"));
    return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion(int *out) { return nvmlSystemGetCudaDriverVersion_v2(out); }

int nvmlDeviceGetCount_v2(unsigned *out) {
    char described[SIZE];
    for (*out = 0; gpu((int)*out, described); ++*out) {}
    return atoi(given("STUB_NVML_COUNT", "0"));
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, handle_t *out) {
    char described[SIZE];
    *out = handle((int)index, 0);
    return look(*out, "handle", described);
}
int nvmlDeviceGetIndex(handle_t h, unsigned *out) {
    char described[SIZE];
    *out = (unsigned)index_of(h);
    return look(h, "handle", described);
}
int nvmlDeviceGetMinorNumber(handle_t h, unsigned *out) { return nvmlDeviceGetIndex(h, out); }

int nvmlDeviceGetUUID(handle_t h, char *out, unsigned size) {
    char described[SIZE], text[64];
    int code = look(h, "uuid", described);
    if (code) return code;
    snprintf(text, sizeof text, "%s-00000000-0000-0000-0000-%010d%02d",
             slice_of(h) ? "MIG" : "GPU", index_of(h), slice_of(h));
    return put(text, out, size);
}
int nvmlDeviceGetName(handle_t h, char *out, unsigned size) {
    char described[SIZE], name[SIZE], text[SIZE + 16];
    int code = look(h, "name", described);
    if (code) return code;
    field(described, ',', 0, name);
    snprintf(text, sizeof text, slice_of(h) ? "%s MIG %d" : "%s", name, slice_of(h));
    return put(text, out, size);
}

static int memory(handle_t h, unsigned long long *bytes) {
    char described[SIZE], text[SIZE] = "0";
    int code = look(h, "memory", described);
    if (code) return code;
    const char *slice = slice_of(h) ? option(described, "slice", slice_of(h) - 1) : NULL;
    if (!slice) field(described, ',', 2, text);
    *bytes = strtoull(slice ? slice : text, NULL, 10) << 20;
    return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(handle_t h, memory_t *out) {
    memset(out, 0, sizeof *out);
    int code = memory(h, &out->total);
    out->free = out->total;
    return code;
}
int nvmlDeviceGetMemoryInfo_v2(handle_t h, memory2_t *out) {
    int code = memory(h, &out->total);
    out->free = out->total;
    out->used = out->reserved = 0;
    return code;
}

int nvmlDeviceGetCudaComputeCapability(handle_t h, int *major, int *minor) {
    char described[SIZE], text[SIZE] = "0.0";
    int code = look(h, "capability", described);
    if (code) return code;
    field(described, ',', 1, text);
    return sscanf(text, "%d.%d", major, minor) == 2 ? SUCCESS : INVALID_ARGUMENT;
}

int nvmlDeviceGetPciInfo_v3(handle_t h, pci_t *out) {
    char described[SIZE];
    memset(out, 0, sizeof *out);
    out->bus = (unsigned)index_of(h) + 1;
    snprintf(out->legacy, sizeof out->legacy, "0000:%02x:00.0", out->bus);
    snprintf(out->text, sizeof out->text, "00000000:%02x:00.0", out->bus);
    return look(h, "handle", described);
}
int nvmlDeviceGetHandleByPciBusId_v2(const char *text, handle_t *out) {
    unsigned domain, bus;
    if (sscanf(text, "%x:%x:", &domain, &bus) != 2 || !bus) return INVALID_ARGUMENT;
    return nvmlDeviceGetHandleByIndex_v2(bus - 1, out);
}

int nvmlDeviceGetMigMode(handle_t h, unsigned *current, unsigned *pending) {
    char described[SIZE];
    int code = look(h, "mig", described);
    if (code) return code;
    *current = *pending = option(described, "mig", 0) != NULL;
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(handle_t h, unsigned *out) {
    (void)h;
    *out = SLICES - 1;
    return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(handle_t h, unsigned index, handle_t *out) {
    char described[SIZE];
    int code = look(h, "handle", described);
    if (code) return code;
    if (index >= SLICES || !option(described, "slice", (int)index)) return NOT_FOUND;
    *out = handle(index_of(h), (int)index + 1);
    return SUCCESS;
}
int nvmlDeviceIsMigDeviceHandle(handle_t h, unsigned *out) {
    *out = slice_of(h) != 0;
    return h ? SUCCESS : INVALID_ARGUMENT;
}
int nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle_t h, handle_t *out) {
    *out = handle(index_of(h), 0);
    return slice_of(h) ? SUCCESS : INVALID_ARGUMENT;
}
