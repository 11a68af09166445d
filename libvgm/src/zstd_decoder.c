/* The bundled Zstandard decoder as one file, without what a frame in memory does not need. */
#ifndef VGM_SYSTEM_ZSTD

#define DEBUGLEVEL 0
#define XXH_NAMESPACE vgm_
#define XXH_PRIVATE_API
#define XXH_INLINE_ALL
#define ZSTD_LEGACY_SUPPORT 0
#define ZSTD_DISABLE_ASM 1
#define ZSTD_STRIP_ERROR_STRINGS
#define ZSTD_TRACE 0
#define ZSTDLIB_VISIBLE
#define ZSTDERRORLIB_VISIBLE
#define ZSTDLIB_STATIC_API

#include "../third_party/zstd/common/entropy_common.c"
#include "../third_party/zstd/common/error_private.c"
#include "../third_party/zstd/common/fse_decompress.c"
#include "../third_party/zstd/common/zstd_common.c"
#include "../third_party/zstd/decompress/huf_decompress.c"
#include "../third_party/zstd/decompress/zstd_ddict.c"
#include "../third_party/zstd/decompress/zstd_decompress.c"
#include "../third_party/zstd/decompress/zstd_decompress_block.c"

#endif
