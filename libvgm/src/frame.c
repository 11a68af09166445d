#include "frame.h"

#define ZSTD_STATIC_LINKING_ONLY
#ifdef VGM_SYSTEM_ZSTD
#include <zstd.h>
#else
#define ZSTDLIB_VISIBLE
#define ZSTDERRORLIB_VISIBLE
#define ZSTDLIB_STATIC_API
#include "../third_party/zstd/zstd.h"
#endif

static const uint64_t MAX_WINDOW = (uint64_t)1 << 27;

static void *take(void *allocator, size_t bytes)
{
    const vgm_allocator *a = allocator;
    return a->take(a->state, bytes);
}

static void give(void *allocator, void *block)
{
    vgm_give(allocator, block);
}

vgm_status vgm_frame_size(const uint8_t *data, size_t length, const char *where, uint64_t *size, vgm_error *error)
{
    ZSTD_frameHeader header;
    size_t whole;
    if (ZSTD_getFrameHeader(&header, data, length) != 0 || header.frameType != ZSTD_frame)
        return vgm_fail(error, VGM_DAMAGED, "%s: not a zstd frame", where);
    if (header.frameContentSize == ZSTD_CONTENTSIZE_UNKNOWN || header.frameContentSize == 0)
        return vgm_fail(error, VGM_DAMAGED, "%s: zstd frame says no size", where);
    if (header.windowSize > MAX_WINDOW)
        return vgm_fail(error, VGM_DAMAGED, "%s: zstd window of %llu bytes, expected at most 2^27", where,
                        (unsigned long long)header.windowSize);
    if (header.dictID != 0)
        return vgm_fail(error, VGM_DAMAGED, "%s: zstd frame needs a dictionary", where);
    whole = ZSTD_findFrameCompressedSize(data, length);
    if (ZSTD_isError(whole) || whole != length)
        return vgm_fail(error, VGM_DAMAGED, "%s: zstd frame does not fill its place", where);
    *size = header.frameContentSize;
    return VGM_OK;
}

vgm_status vgm_frame_read(const uint8_t *data, size_t length, const char *where, uint8_t *to, size_t size,
                          const vgm_allocator *allocator, vgm_error *error)
{
    ZSTD_customMem memory;
    ZSTD_DCtx *context;
    size_t found;
    memory.customAlloc = take;
    memory.customFree = give;
    memory.opaque = (void *)allocator;
    context = ZSTD_createDCtx_advanced(memory);
    if (context == NULL)
        return vgm_fail(error, VGM_MEMORY, "%s: no memory to decompress", where);
    found = ZSTD_decompressDCtx(context, to, size, data, length);
    ZSTD_freeDCtx(context);
    if (ZSTD_isError(found) || found != size)
        return vgm_fail(error, VGM_DAMAGED, "%s: damaged zstd frame", where);
    return VGM_OK;
}
