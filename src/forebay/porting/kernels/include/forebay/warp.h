// What threads of a block and lanes of a warp do together: barriers, shuffles, votes.
#pragma once

#include "launch.h"

#define FOREBAY_FULL 0xffffffffu

namespace forebay_cuda FOREBAY_HIDDEN {

inline unsigned lane() { return the_block->thread() % 32; }

template <class T>
T shuffle(unsigned mask, T value, int source) {
  static_assert(sizeof(T) <= 16 && std::is_trivially_copyable<T>::value, "a shuffle carries up to 16 bytes");
  std::uint64_t words[2] = {0, 0};
  std::memcpy(words, &value, sizeof(T));
  const Lane& mine = the_block->meet(Meet::shuffle, mask, nullptr, words[0], words[1], source, nullptr);
  std::memcpy(&value, mine.takes, sizeof(T));
  return value;
}

// Where the four shuffles read, by segments of `width` lanes (CUDA C++ Programming Guide, warp shuffle functions).
inline int at_index(int index, int width) { return int(lane()) / width * width + ((index % width) + width) % width; }
inline int at_up(unsigned delta, int width) {
  const int me = int(lane()), from = me - int(delta);
  return from < me / width * width ? me : from;
}
inline int at_down(unsigned delta, int width) {
  const int me = int(lane()), from = me + int(delta);
  return from >= (me / width + 1) * width ? me : from;
}
inline int at_xor(int mask, int width) {
  const int me = int(lane()), from = me ^ mask;
  return from >= (me / width + 1) * width ? me : from;
}

// The values of all lanes that met; lanes that didn't come are 0.
struct Gathered {
  std::uint64_t values[32];
  unsigned came;
};
inline Gathered gather(unsigned mask, std::uint64_t value) {
  Gathered all;
  all.came = the_block->meet(Meet::gather, mask, nullptr, value, 0, 0, all.values).came;
  return all;
}
inline unsigned ballot(unsigned mask, bool vote) {
  const Gathered all = gather(mask, vote);
  unsigned bits = 0;
  for (int i = 0; i < 32; ++i) bits |= unsigned(all.values[i] != 0) << i;
  return bits;
}
template <class T, class Fold>
T reduce(unsigned mask, T value, Fold fold) {
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  const Gathered all = gather(mask, word);
  bool first = true;
  T result = value;
  for (int i = 0; i < 32; ++i) {
    if (!(all.came >> i & 1)) continue;
    T other;
    std::memcpy(&other, &all.values[i], sizeof(T));
    result = first ? other : fold(result, other);
    first = false;
  }
  return result;
}
// Where a shared array is written. Kernels whose block is one warp were written for lanes that do each statement together, so there
// they meet: the lanes that are furthest back in the text go on first, until they are with the others.
inline void in_step(std::size_t place) {
  if (the_block && the_block->one_warp()) the_block->meet(Meet::converge, 0, reinterpret_cast<const void*>(place), 0, 0, 0, nullptr);
}
inline unsigned converged(const void* site) { return the_block->meet(Meet::converge, 0, site, 0, 0, 0, nullptr).came; }

}  // namespace forebay_cuda

// ---- the block
static inline void __syncthreads() { forebay_cuda::the_block->barrier(false); }
static inline int __syncthreads_count(int vote) { return forebay_cuda::the_block->barrier(vote != 0); }
static inline int __syncthreads_or(int vote) { return forebay_cuda::the_block->barrier(vote != 0) > 0; }
static inline int __syncthreads_and(int vote) { return forebay_cuda::the_block->barrier(vote == 0) == 0; }
static inline void __threadfence() { std::atomic_thread_fence(std::memory_order_seq_cst); }
static inline void __threadfence_block() { __threadfence(); }
static inline void __threadfence_system() { __threadfence(); }
static inline void __nanosleep(unsigned) { forebay_cuda::the_block->yield(); }
static inline long long clock64() { return std::chrono::steady_clock::now().time_since_epoch().count(); }
static inline void __trap() { throw std::runtime_error("a kernel called __trap()"); }

// ---- the warp
static inline void __syncwarp(unsigned mask = FOREBAY_FULL) { forebay_cuda::gather(mask, 0); }
static inline unsigned __ballot_sync(unsigned mask, int vote) { return forebay_cuda::ballot(mask, vote != 0); }
static inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
static inline int __all_sync(unsigned mask, int vote) { return forebay_cuda::ballot(mask, vote == 0) == 0; }
static inline unsigned __ballot(int vote) { return __ballot_sync(FOREBAY_FULL, vote); }
static inline int __any(int vote) { return __any_sync(FOREBAY_FULL, vote); }
static inline int __all(int vote) { return __all_sync(FOREBAY_FULL, vote); }

#define FOREBAY_SHUFFLES(name, Where, where)                                                   \
  template <class T> T name##_sync(unsigned mask, T value, Where amount, int width = 32) {     \
    return forebay_cuda::shuffle(mask, value, forebay_cuda::where(amount, width));             \
  }                                                                                            \
  template <class T> T name(T value, Where amount, int width = 32) {                           \
    return name##_sync(FOREBAY_FULL, value, amount, width);                                    \
  }
FOREBAY_SHUFFLES(__shfl, int, at_index)
FOREBAY_SHUFFLES(__shfl_up, unsigned, at_up)
FOREBAY_SHUFFLES(__shfl_down, unsigned, at_down)
FOREBAY_SHUFFLES(__shfl_xor, int, at_xor)
#undef FOREBAY_SHUFFLES

template <class T> unsigned __match_any_sync(unsigned mask, T value) {
  std::uint64_t word = 0;
  std::memcpy(&word, &value, sizeof(T));
  const auto all = forebay_cuda::gather(mask, word);
  unsigned same = 0;
  for (int i = 0; i < 32; ++i) same |= unsigned((all.came >> i & 1) && all.values[i] == word) << i;
  return same;
}
template <class T> unsigned __match_all_sync(unsigned mask, T value, int* all_equal) {
  const unsigned same = __match_any_sync(mask, value);
  *all_equal = __all_sync(mask, (same & mask) == same && __builtin_popcount(same) == __builtin_popcount(__ballot_sync(mask, 1)));
  return *all_equal ? same : 0;
}
template <class T> T __reduce_add_sync(unsigned mask, T value) { return forebay_cuda::reduce(mask, value, [](T a, T b) { return T(a + b); }); }
template <class T> T __reduce_min_sync(unsigned mask, T value) { return forebay_cuda::reduce(mask, value, [](T a, T b) { return b < a ? b : a; }); }
template <class T> T __reduce_max_sync(unsigned mask, T value) { return forebay_cuda::reduce(mask, value, [](T a, T b) { return a < b ? b : a; }); }
static inline unsigned __reduce_and_sync(unsigned mask, unsigned value) { return forebay_cuda::reduce(mask, value, [](unsigned a, unsigned b) { return a & b; }); }
static inline unsigned __reduce_or_sync(unsigned mask, unsigned value) { return forebay_cuda::reduce(mask, value, [](unsigned a, unsigned b) { return a | b; }); }
static inline unsigned __reduce_xor_sync(unsigned mask, unsigned value) { return forebay_cuda::reduce(mask, value, [](unsigned a, unsigned b) { return a ^ b; }); }

// Who is here with me: the lanes of the warp that reach this line before anybody can go on. Each use is a place of its own.
#define __activemask() ([]() -> unsigned { static const char site = 0; return forebay_cuda::converged(&site); }())
