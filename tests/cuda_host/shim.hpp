// Enough of CUDA C++ for the host's compiler to run the kernels, one block at a time, every thread a fiber.
//
// A fiber runs until it meets a barrier or a warp operation; those are strict: all threads of the block, or all lanes
// of the warp, must come to the same one, or the run is aborted. Fibers take turns in an order that the caller chooses,
// so that results which depend on the order show.
#pragma once
#include <sanitizer/common_interface_defs.h>
#if !(defined(__x86_64__) && defined(__linux__))
#include <ucontext.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <numeric>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __forceinline__ inline
#define __launch_bounds__(...)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

struct alignas(16) float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

namespace shim {

enum class State { ready, at_block, at_warp, done };

constexpr size_t STACK = 256 * 1024;
constexpr unsigned MAX_THREADS = 1024, WARP = 32;

#if defined(__x86_64__) && defined(__linux__)
// swapcontext asks the operating system twice for each switch, and there are millions: keep to the registers.
using Context = void*;  // stack pointer
extern "C" void shim_switch(Context* from, Context to);
asm(R"(
.text
.type shim_switch, @function
shim_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
inline void switch_to(Context* from, Context* to) { shim_switch(from, *to); }
inline void start_at(Context* context, void* stack, size_t size, void (*entry)()) {
    void** top = reinterpret_cast<void**>(static_cast<char*>(stack) + size) - 2;
    *top = reinterpret_cast<void*>(entry);
    top[1] = nullptr;
    *context = top - 6;
}
#else
using Context = ucontext_t;
inline void switch_to(Context* from, Context* to) { swapcontext(from, to); }
inline void start_at(Context* context, void* stack, size_t size, void (*entry)()) {
    getcontext(context);
    context->uc_stack.ss_sp = stack;
    context->uc_stack.ss_size = size;
    context->uc_link = nullptr;
    makecontext(context, entry, 0);
}
#endif

struct Fiber {
    Context context;
    State state;
    dim3 thread;
    void* stack;
    void* fake_stack;
    unsigned turn;  // warp operations done, to tell the two buffers of a warp apart
};

struct Machine {
    Fiber fibers[MAX_THREADS];
    uint64_t slots[2][MAX_THREADS];
    Context scheduler;
    void* scheduler_fake = nullptr;
    const void* scheduler_bottom = nullptr;
    size_t scheduler_size = 0;
    Fiber* current = nullptr;
    dim3 block, grid, threads;
    std::function<void()> body;
};

inline Machine& machine() {
    static Machine* m = new Machine();
    return *m;
}

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "shim: %s (block %u, thread %u)\n", what, machine().block.x, machine().current->thread.x);
    std::abort();
}

inline void to_scheduler(bool last) {
    Machine& m = machine();
    Fiber* f = m.current;
    __sanitizer_start_switch_fiber(last ? nullptr : &f->fake_stack, m.scheduler_bottom, m.scheduler_size);
    switch_to(&f->context, &m.scheduler);
    __sanitizer_finish_switch_fiber(f->fake_stack, &m.scheduler_bottom, &m.scheduler_size);
}

inline void entry() {
    Machine& m = machine();
    __sanitizer_finish_switch_fiber(nullptr, &m.scheduler_bottom, &m.scheduler_size);
    m.body();
    m.current->state = State::done;
    to_scheduler(true);
}

inline void wait(State state) {
    machine().current->state = state;
    to_scheduler(false);
}

// Hands a value to all lanes of the warp; returns the values of the lanes.
inline const uint64_t* exchange(uint64_t value) {
    Machine& m = machine();
    Fiber* f = m.current;
    uint64_t* slots = m.slots[f->turn++ & 1];
    slots[f->thread.x] = value;
    wait(State::at_warp);
    return slots + f->thread.x / WARP * WARP;
}

inline void run_block(const std::vector<unsigned>& order) {
    Machine& m = machine();
    unsigned n = m.threads.x;
    for (unsigned t = 0; t < n; t++) {
        Fiber& f = m.fibers[t];
        if (!f.stack) f.stack = std::malloc(STACK);
        f.state = State::ready;
        f.thread = {t, 0, 0};
        f.turn = 0;
        f.fake_stack = nullptr;
        start_at(&f.context, f.stack, STACK, entry);
    }
    for (unsigned done = 0; done < n;) {
        for (unsigned t : order) {
            Fiber& f = m.fibers[t];
            if (f.state != State::ready) continue;
            m.current = &f;
            __sanitizer_start_switch_fiber(&m.scheduler_fake, f.stack, STACK);
            switch_to(&m.scheduler, &f.context);
            __sanitizer_finish_switch_fiber(m.scheduler_fake, nullptr, nullptr);
        }
        unsigned at_block = 0;
        bool moved = false;
        done = 0;
        for (unsigned w = 0; w < n; w += WARP) {
            unsigned waiting = 0, ended = 0;
            for (unsigned t = w; t < w + WARP; t++) {
                waiting += m.fibers[t].state == State::at_warp;
                ended += m.fibers[t].state == State::done;
                at_block += m.fibers[t].state == State::at_block;
            }
            done += ended;
            if (waiting == WARP) {
                for (unsigned t = w; t < w + WARP; t++) m.fibers[t].state = State::ready;
                moved = true;
            } else if (waiting) {
                fail("a warp operation that not all lanes came to");
            }
        }
        if (at_block == n) {
            for (unsigned t = 0; t < n; t++) m.fibers[t].state = State::ready;
        } else if (at_block && !moved) {
            fail("a __syncthreads that not all threads came to");
        }
    }
}

// Runs a kernel over a grid. order 0: blocks and threads ascending; 1: descending; else shuffled by it.
inline void launch(unsigned blocks, unsigned threads, unsigned order, std::function<void()> body) {
    Machine& m = machine();
    if (threads % WARP || threads > MAX_THREADS) {
        std::fprintf(stderr, "shim: %u threads a block\n", threads);
        std::abort();
    }
    auto sequence = [order](unsigned n) {
        std::vector<unsigned> s(n);
        std::iota(s.begin(), s.end(), 0u);
        if (order == 1) std::reverse(s.begin(), s.end());
        uint64_t state = order * 0x9E3779B97F4A7C15ull;
        for (unsigned k = n; order > 1 && k > 1; k--) {
            state = state * 6364136223846793005ull + 1442695040888963407ull;
            std::swap(s[k - 1], s[(state >> 33) % k]);
        }
        return s;
    };
    m.threads = {threads, 1, 1};
    m.grid = {blocks, 1, 1};
    m.body = std::move(body);
    const std::vector<unsigned> turns = sequence(threads);
    for (unsigned b : sequence(blocks)) {
        m.block = {b, 0, 0};
        run_block(turns);
    }
}

}  // namespace shim

#define threadIdx (shim::machine().current->thread)
#define blockIdx (shim::machine().block)
#define blockDim (shim::machine().threads)
#define gridDim (shim::machine().grid)

inline void __syncthreads() { shim::wait(shim::State::at_block); }

inline void shim_full(unsigned mask) {
    if (mask != 0xffffffffu) shim::fail("a warp operation with a part of the lanes");
}

inline unsigned __ballot_sync(unsigned mask, bool predicate) {
    shim_full(mask);
    const uint64_t* lanes = shim::exchange(predicate);
    unsigned bits = 0;
    for (unsigned k = 0; k < shim::WARP; k++) bits |= (unsigned)lanes[k] << k;
    return bits;
}

inline float __shfl_down_sync(unsigned mask, float value, int delta) {
    shim_full(mask);
    uint64_t bits = 0;
    std::memcpy(&bits, &value, sizeof value);
    unsigned lane = threadIdx.x % shim::WARP, from = lane + delta < shim::WARP ? lane + delta : lane;
    const uint64_t* lanes = shim::exchange(bits);
    std::memcpy(&value, lanes + from, sizeof value);
    return value;
}

inline unsigned long long atomicAdd(unsigned long long* at, unsigned long long value) {
    unsigned long long before = *at;
    *at += value;
    return before;
}

inline int __ffs(int bits) { return __builtin_ffs(bits); }

inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
