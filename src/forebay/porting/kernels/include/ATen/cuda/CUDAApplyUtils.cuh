// The part of torch's header that extensions use: sizes of a grid.
#pragma once

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/Atomic.cuh>
#include <ATen/ceil_div.h>

namespace at::cuda {
inline dim3 getApplyBlock() { return dim3(512); }
inline bool getApplyGrid(uint64_t elements, dim3& grid, int64_t, int = 512) {
  grid = dim3(static_cast<unsigned>(at::ceil_div(elements, uint64_t(512))));
  return true;
}
}  // namespace at::cuda
