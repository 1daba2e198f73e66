// kernel<<<grid, block, shared, stream>>>(arguments), as a function call.
//
// Asked:  what does a launch do on the host?
// Answer: it runs the blocks, in order of their number, on as many threads of the host as there are cores, and returns when all
//         are done: so streams keep their order by nature. The arguments are evaluated once. What was launched, where and
//         how often is kept for the report of the run.
// Limits: blocks that wait for later blocks (a barrier over the grid made of atomics) hang, as they may on a small card.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "fibres.h"
#include "runtime.h"

namespace forebay_cuda FOREBAY_HIDDEN {

struct Config {
  dim3 grid, block;
  std::size_t shared;
  Config(dim3 grid, dim3 block, std::size_t shared = 0, cudaStream_t = nullptr) : grid(grid), block(block), shared(shared) {}
};

// Where a kernel is launched. They form a list that `forebay_kernel_launches` walks.
struct Site {
  const char* kernel = nullptr;
  const char* file = nullptr;
  int line = 0;
  std::atomic<unsigned long long> launches{0};
  Site* next = nullptr;
};
inline std::atomic<Site*> sites{nullptr};

template <class Body>
struct SiteOf {
  static inline Site site;
};

inline unsigned workers() {
  static const unsigned count = [] {
    const char* told = std::getenv("OMP_NUM_THREADS");
    const int wanted = told ? std::atoi(told) : 0;
    return wanted > 0 ? static_cast<unsigned>(wanted) : std::max(1u, std::thread::hardware_concurrency());
  }();
  return count;
}

inline void run_grid(const Config& config, void (*body)(void*), void* with) {
  const std::size_t blocks = std::size_t(config.grid.x) * config.grid.y * config.grid.z;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failed;
  std::mutex lock;
  auto work = [&](std::size_t most) {
    const dim3 outer_block = blockDim, outer_grid = gridDim;
    blockDim = config.block;
    gridDim = config.grid;
    try {
      Block block(body, with);
      for (std::size_t done = 0; done < most && !stop; ++done) {
        const std::size_t number = next++;
        if (number >= blocks) break;
        const std::size_t row = number / config.grid.x;
        block.run({static_cast<unsigned>(number - row * config.grid.x), static_cast<unsigned>(row % config.grid.y),
                   static_cast<unsigned>(row / config.grid.y)}, config.shared);
      }
    } catch (...) {
      std::lock_guard<std::mutex> held(lock);
      if (!failed) failed = std::current_exception();
      stop = true;
    }
    blockDim = outer_block;
    gridDim = outer_grid;
  };
  // A few blocks alone tell whether helpers are worth their start (some 30 microseconds each). They are not kept: a process
  // that forks has no thread of ours.
  const auto start = std::chrono::steady_clock::now();
  work(workers() > 1 ? std::max<std::size_t>(1, blocks / 16) : blocks);
  const std::size_t first = std::min<std::size_t>(next, blocks);
  if (first < blocks && !stop) {
    const double spent = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    std::vector<std::thread> helpers;
    if (spent / double(first) * double(blocks - first) > 200e-6) {
      for (unsigned i = 1; i < std::min<std::size_t>(workers(), blocks - first); ++i) {
        helpers.emplace_back([&] { work(blocks); });
      }
    }
    work(blocks);
    for (auto& helper : helpers) helper.join();
  }
  if (failed) std::rethrow_exception(failed);
}

template <class Body, class... Arguments>
void launch(const char* kernel, const char* file, int line, const Config& config, Body body, Arguments... arguments) {
  Site& site = SiteOf<Body>::site;
  if (site.launches++ == 0) {
    site.kernel = kernel;
    site.file = file;
    site.line = line;
    site.next = sites.load();
    while (!sites.compare_exchange_weak(site.next, &site)) {
    }
  }
  const dim3 &g = config.grid, &b = config.block;
  const std::uint64_t threads = std::uint64_t(b.x) * b.y * b.z;
  if (!g.x || !g.y || !g.z || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535 || !threads || threads > 1024 || b.z > 64) {
    last_error = cudaErrorInvalidConfiguration;
    return;
  }
  if (config.shared > kMostShared) {
    last_error = cudaErrorInvalidValue;
    return;
  }
  auto call = [&] { body(arguments...); };
  try {
    run_grid(config, [](void* with) { (*static_cast<decltype(call)*>(with))(); }, &call);
  } catch (const Deadlock& error) {
    last_error = cudaErrorLaunchFailure;
    throw std::runtime_error(std::string(file) + ":" + std::to_string(line) + ": kernel " + kernel + ": " + error.what());
  }
}

// cudaLaunchKernel(function, grid, block, pointers to arguments, ...)
template <class... Parameters, std::size_t... I>
void call_with(void (*function)(Parameters...), void** pointers, std::index_sequence<I...>) {
  function(*static_cast<std::remove_reference_t<Parameters>*>(pointers[I])...);
}

inline void* dynamic_shared() { return the_block->shared(); }

// `extern __shared__ T name[]` outside of a function.
template <class T>
struct DynamicShared {
  operator T*() const { return static_cast<T*>(const_cast<void*>(static_cast<const void*>(dynamic_shared()))); }
};

}  // namespace forebay_cuda

template <class... Parameters>
cudaError_t cudaLaunchKernel(void (*function)(Parameters...), dim3 grid, dim3 block, void** pointers, std::size_t shared = 0,
                             cudaStream_t stream = nullptr) {
  forebay_cuda::launch("cudaLaunchKernel", "", 0, forebay_cuda::Config(grid, block, shared, stream), [=](int) {
    forebay_cuda::call_with(function, pointers, std::index_sequence_for<Parameters...>());
  }, 0);
  return cudaPeekAtLastError();
}

// One line for each place: kernel, file, line, launches, with tabs between. Returns the bytes that the whole needs.
extern "C" inline __attribute__((visibility("default"), used)) std::size_t forebay_kernel_launches(char* text, std::size_t size) {
  std::string all;
  for (auto* site = forebay_cuda::sites.load(); site; site = site->next) {
    all += std::string(site->kernel) + "\t" + site->file + "\t" + std::to_string(site->line) + "\t" +
           std::to_string(site->launches.load()) + "\n";
  }
  if (size) {
    std::strncpy(text, all.c_str(), size - 1);
    text[size - 1] = 0;
  }
  return all.size() + 1;
}
