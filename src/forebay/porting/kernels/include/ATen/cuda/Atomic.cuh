// torch's names for atomics, over ours.
#pragma once

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <forebay/device.h>

#ifdef FOREBAY_CUDA_SOURCE
template <class T> T gpuAtomicAdd(T* place, forebay_cuda::Same<T> value) { return atomicAdd(place, value); }
template <class T> void gpuAtomicAddNoReturn(T* place, forebay_cuda::Same<T> value) { atomicAdd(place, value); }
template <class T> T gpuAtomicMax(T* place, forebay_cuda::Same<T> value) { return atomicMax(place, value); }
template <class T> T gpuAtomicMin(T* place, forebay_cuda::Same<T> value) { return atomicMin(place, value); }
template <class T> T gpuAtomicMul(T* place, forebay_cuda::Same<T> value) {
  return forebay_cuda::atomically(place, [&](T old) -> T { return old * value; });
}
#endif
