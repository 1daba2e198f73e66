// Atomic operations. Blocks run on several threads of the host, so they are the host's own.
#pragma once

#include "half.h"
#include "warp.h"

namespace forebay_cuda FOREBAY_HIDDEN {

template <std::size_t bytes> struct Word;
template <> struct Word<2> { using type = std::uint16_t; };
template <> struct Word<4> { using type = std::uint32_t; };
template <> struct Word<8> { using type = std::uint64_t; };

// Replace *place by change(*place) in one step, for any type of 2, 4 or 8 bytes; returns what was there.
template <class T, class Change>
T atomically(T* place, Change change) {
  using Bits = typename Word<sizeof(T)>::type;
  Bits* bits = reinterpret_cast<Bits*>(place);
  Bits seen = __atomic_load_n(bits, __ATOMIC_RELAXED), wanted;
  T old;
  do {
    std::memcpy(&old, &seen, sizeof(T));
    const T changed = change(old);
    std::memcpy(&wanted, &changed, sizeof(T));
  } while (!__atomic_compare_exchange_n(bits, &seen, wanted, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED));
  return old;
}
template <class T> T plus(T a, T b) { return a + b; }
inline __half plus(__half a, __half b) { return __hadd(a, b); }
inline __nv_bfloat16 plus(__nv_bfloat16 a, __nv_bfloat16 b) { return __hadd(a, b); }
template <class T> struct Named { using type = T; };
template <class T> using Same = typename Named<T>::type;  // an argument that is converted, not deduced from

}  // namespace forebay_cuda

#define FOREBAY_ATOMIC(name, result)                                                                                   \
  template <class T> T name(T* place, forebay_cuda::Same<T> value) {                                                   \
    return forebay_cuda::atomically(place, [&](T old) -> T { return result; });                                        \
  }                                                                                                                    \
  template <class T> T name##_block(T* place, forebay_cuda::Same<T> value) { return name(place, value); }              \
  template <class T> T name##_system(T* place, forebay_cuda::Same<T> value) { return name(place, value); }
FOREBAY_ATOMIC(atomicAdd, forebay_cuda::plus(old, value))
FOREBAY_ATOMIC(atomicSub, old - value)
FOREBAY_ATOMIC(atomicMin, value < old ? value : old)
FOREBAY_ATOMIC(atomicMax, old < value ? value : old)
FOREBAY_ATOMIC(atomicAnd, old & value)
FOREBAY_ATOMIC(atomicOr, old | value)
FOREBAY_ATOMIC(atomicXor, old ^ value)
FOREBAY_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
FOREBAY_ATOMIC(atomicDec, (old == 0 || old > value) ? value : old - 1)
#undef FOREBAY_ATOMIC

// A lock made of these two would never be opened if the one who waits for it didn't give way.
template <class T> T atomicExch(T* place, forebay_cuda::Same<T> value) {
  const T old = forebay_cuda::atomically(place, [&](T) { return value; });
  if (forebay_cuda::the_block && std::memcmp(&old, &value, sizeof(T)) == 0) forebay_cuda::the_block->yield();
  return old;
}
template <class T> T atomicCAS(T* place, forebay_cuda::Same<T> expected, forebay_cuda::Same<T> value) {
  const T old = forebay_cuda::atomically(place, [&](T seen) { return std::memcmp(&seen, &expected, sizeof(T)) == 0 ? value : seen; });
  if (forebay_cuda::the_block && std::memcmp(&old, &expected, sizeof(T)) != 0) forebay_cuda::the_block->yield();
  return old;
}
static inline __half2 atomicAdd(__half2* place, __half2 value) {
  return {atomicAdd(&place->x, value.x), atomicAdd(&place->y, value.y)};
}
static inline __nv_bfloat162 atomicAdd(__nv_bfloat162* place, __nv_bfloat162 value) {
  return {atomicAdd(&place->x, value.x), atomicAdd(&place->y, value.y)};
}
