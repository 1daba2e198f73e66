// torch's names for warp operations, over ours.
#pragma once

#include <forebay/device.h>

#define C10_WARP_SIZE 32
#ifdef FOREBAY_CUDA_SOURCE
static inline unsigned WARP_ACTIVE_MASK() { return FOREBAY_FULL; }
static inline unsigned WARP_BALLOT(int vote, unsigned mask = FOREBAY_FULL) { return __ballot_sync(mask, vote); }
template <class T> T WARP_SHFL_XOR(T value, int lanes, int width = 32, unsigned mask = FOREBAY_FULL) { return __shfl_xor_sync(mask, value, lanes, width); }
template <class T> T WARP_SHFL(T value, int source, int width = 32, unsigned mask = FOREBAY_FULL) { return __shfl_sync(mask, value, source, width); }
template <class T> T WARP_SHFL_UP(T value, unsigned delta, int width = 32, unsigned mask = FOREBAY_FULL) { return __shfl_up_sync(mask, value, delta, width); }
template <class T> T WARP_SHFL_DOWN(T value, unsigned delta, int width = 32, unsigned mask = FOREBAY_FULL) { return __shfl_down_sync(mask, value, delta, width); }
#endif
