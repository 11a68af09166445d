#include "codings.h"

#include "frame.h"

static vgm_status decode_raw(const vgm_payload *p, uint8_t *records, vgm_error *error)
{
    if (p->length / VGM_RECORD_BYTES != p->count || p->length % VGM_RECORD_BYTES)
        return vgm_fail(error, VGM_DAMAGED, "%s: %llu bytes of raw records, expected %llu x 22", p->where,
                        (unsigned long long)p->length, (unsigned long long)p->count);
    for (size_t k = 0; k < p->length; k++)
        records[k] = p->payload[k];
    return VGM_OK;
}

static vgm_status decode_planes(const vgm_payload *p, uint8_t *records, const vgm_allocator *allocator, vgm_error *error)
{
    uint64_t size, bytes = p->count * VGM_RECORD_BYTES;
    uint8_t *planes;
    vgm_status status = vgm_frame_size(p->payload, p->length, p->where, &size, error);
    if (status != VGM_OK)
        return status;
    if (size != bytes)
        return vgm_fail(error, VGM_DAMAGED, "%s: zstd frame says %llu bytes, expected %llu", p->where, (unsigned long long)size,
                        (unsigned long long)bytes);
    planes = vgm_take(allocator, (size_t)bytes, 1, error);
    if (planes == NULL)
        return VGM_MEMORY;
    status = vgm_frame_read(p->payload, p->length, p->where, planes, (size_t)bytes, allocator, error);
    if (status == VGM_OK)
        for (uint64_t i = 0; i < p->count; i++)
            for (unsigned k = 0; k < VGM_RECORD_BYTES; k++)
                records[i * VGM_RECORD_BYTES + k] = planes[k * p->count + i];
    vgm_give(allocator, planes);
    return status;
}

vgm_status vgm_check_records(const uint8_t *records, uint64_t count, const char *where, vgm_error *error)
{
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *r = records + i * VGM_RECORD_BYTES;
        unsigned h[11], rotation = 0;
        for (int k = 0; k < 11; k++) {
            h[k] = r[2 * k] | (unsigned)r[2 * k + 1] << 8;
            if ((h[k] & 0x7c00u) == 0x7c00u)
                return vgm_fail(error, VGM_DAMAGED, "%s: primitive %llu holds a value that is not finite", where,
                                (unsigned long long)i);
        }
        for (int k = 3; k < 6; k++)
            if (h[k] == 0 || h[k] & 0x8000u)
                return vgm_fail(error, VGM_DAMAGED, "%s: primitive %llu has a scale that is not positive", where,
                                (unsigned long long)i);
        for (int k = 6; k < 10; k++)
            rotation |= h[k] & 0x7fffu;
        if (rotation == 0)
            return vgm_fail(error, VGM_DAMAGED, "%s: primitive %llu has a zero quaternion", where, (unsigned long long)i);
    }
    return VGM_OK;
}

vgm_status vgm_decode_payload(const vgm_payload *p, uint8_t *records, const vgm_allocator *allocator, vgm_error *error)
{
    vgm_status status;
    switch (p->coding) {
    case VGM_CODING_RAW:
        status = decode_raw(p, records, error);
        break;
    case VGM_CODING_PLANES:
        status = decode_planes(p, records, allocator, error);
        break;
    case VGM_CODING_LATTICE:
        status = vgm_decode_lattice(p, records, allocator, error);
        break;
    case VGM_CODING_POINTS:
        status = vgm_decode_points(p, records, allocator, error);
        break;
    default:
        return vgm_fail(error, VGM_UNSUPPORTED, "chunk coding %u is not known to this release", p->coding);
    }
    return status == VGM_OK ? vgm_check_records(records, p->count, p->where, error) : status;
}
