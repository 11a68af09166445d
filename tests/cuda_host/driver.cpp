// Runs kernels of volmicro_codec/cuda on the CPU, on request: launches come in on stdin, buffers go back on stdout.
//
// Request:  u32 bytes of name, name, u32 blocks, u32 threads, u32 order, u32 arguments, and for each argument a kind:
//           'v': u64 with the bits of a scalar; '0': a null pointer; 'b': u64 bytes, then a buffer.
// Reply:    for each buffer a u8, 1 for a kernel's non-const pointer; then its bytes; at the end u32 0x600DC0DE.
#include "shim.hpp"

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <unistd.h>

// Small, so that small volumes have items, lists and batches enough to split.
#define ITEM_VOXELS 1000
#define SORT_SHARED 64
#define BATCH 64

#include "../../volmicro_codec/cuda/primitive.cuh"
namespace pack {
#include "../../volmicro_codec/cuda/pack.cu"
}
namespace binning {
#include "../../volmicro_codec/cuda/binning.cu"
}
namespace render {
#include "../../volmicro_codec/cuda/render.cu"
}
namespace sample {
#include "../../volmicro_codec/cuda/sample.cu"
}
namespace backward {
#include "../../volmicro_codec/cuda/backward.cu"
}
namespace fields {
#include "../../volmicro_codec/cuda/fields.cu"
}
namespace steps {
#include "../../volmicro_codec/cuda/steps.cu"
}

namespace {

void read_all(void* to, size_t n) {
    if (std::fread(to, 1, n, stdin) != n) std::exit(0);  // whoever asked has gone
}

template <typename T>
T read_value() {
    T value;
    read_all(&value, sizeof value);
    return value;
}

struct Argument {
    char kind;
    uint64_t bits = 0;
    // A block of exactly its size, so that AddressSanitizer sees the first byte past it.
    std::unique_ptr<void, decltype(&std::free)> buffer{nullptr, &std::free};
    uint64_t bytes = 0;
};

template <typename T>
T unpack(const Argument& a) {
    if constexpr (std::is_pointer_v<T>) {
        if (a.kind == 'v') std::abort();
        return static_cast<T>(a.buffer.get());
    } else {
        if (a.kind != 'v') std::abort();
        T value;
        std::memcpy(&value, &a.bits, sizeof value);
        return value;
    }
}

struct Kernel {
    std::function<void(const std::vector<Argument>&)> call;
    std::vector<bool> written;
};

template <typename... A, size_t... I>
Kernel wrap(void (*f)(A...), std::index_sequence<I...>) {
    return {[f](const std::vector<Argument>& a) {
                if (a.size() != sizeof...(A)) std::abort();
                f(unpack<A>(a[I])...);
            },
            {(std::is_pointer_v<A> && !std::is_const_v<std::remove_pointer_t<A>>)...}};
}

template <typename... A>
Kernel kernel(void (*f)(A...)) {
    return wrap(f, std::index_sequence_for<A...>());
}

const std::map<std::string, Kernel> KERNELS = {
    {"pack_floats", kernel(pack::pack_floats)},
    {"pack_covariances", kernel(pack::pack_covariances)},
    {"bin_count", kernel(binning::bin_count)},
    {"bin_fill", kernel(binning::bin_fill)},
    {"sort_tiles", kernel(binning::sort_tiles)},
    {"scan_runs", kernel(binning::scan_runs)},
    {"scan_sums", kernel(binning::scan_sums)},
    {"scan_add", kernel(binning::scan_add)},
    {"render_uint8", kernel(render::render_uint8)},
    {"render_uint16", kernel(render::render_uint16)},
    {"render_int16", kernel(render::render_int16)},
    {"render_float32", kernel(render::render_float32)},
    {"slope", kernel(render::slope)},
    {"sample_tiles", kernel(sample::sample_tiles)},
    {"sample_nearest", kernel(sample::sample_nearest)},
    {"count_items", kernel(backward::count_items)},
    {"moments", kernel(backward::moments)},
    {"sum_items", kernel(backward::sum_items)},
    {"dot", kernel(fields::dot)},
    {"energy", kernel(fields::energy)},
    {"metric", kernel(fields::metric)},
    {"mask_saturated", kernel(fields::mask_saturated)},
    {"correlate", kernel(fields::correlate)},
    {"halve", kernel(fields::halve)},
    {"peaks", kernel(fields::peaks)},
    {"copy_if", kernel(fields::copy_if)},
    {"principal_axes", kernel(steps::principal_axes)},
    {"step_covariances", kernel(steps::step_covariances)},
    {"step_gradient", kernel(steps::step_gradient)},
    {"step_precondition", kernel(steps::step_precondition)},
    {"step_hold", kernel(steps::step_hold)},
    {"step_clear", kernel(steps::step_clear)},
    {"step_between", kernel(steps::step_between)},
    {"step_table", kernel(steps::step_table)},
    {"step_move", kernel(steps::step_move)},
};

}  // namespace

int main() {
    for (;;) {
        std::string name(read_value<uint32_t>(), ' ');
        read_all(name.data(), name.size());
        auto blocks = read_value<uint32_t>(), threads = read_value<uint32_t>(), order = read_value<uint32_t>();
        std::vector<Argument> arguments(read_value<uint32_t>());
        for (Argument& a : arguments) {
            a.kind = read_value<char>();
            if (a.kind == 'v') a.bits = read_value<uint64_t>();
            if (a.kind == 'b') {
                a.bytes = read_value<uint64_t>();
                a.buffer.reset(std::malloc(a.bytes));
                read_all(a.buffer.get(), a.bytes);
            }
        }
        auto found = KERNELS.find(name);
        if (found == KERNELS.end()) {
            std::fprintf(stderr, "no kernel %s\n", name.c_str());
            return 2;
        }
        shim::launch(blocks, threads, order, [&] { found->second.call(arguments); });
        for (size_t k = 0; k < arguments.size(); k++) {
            if (arguments[k].kind != 'b') continue;
            bool written = found->second.written[k];
            std::fputc(written, stdout);
            if (written) std::fwrite(arguments[k].buffer.get(), 1, arguments[k].bytes, stdout);
        }
        uint32_t good = 0x600DC0DE;
        std::fwrite(&good, sizeof good, 1, stdout);
        std::fflush(stdout);
    }
}
