// What is left of torch's oldest CUDA library, for extensions that still include it.
#pragma once

#include <ATen/cuda/CUDAContext.h>
#include <ATen/cuda/Atomic.cuh>

struct THCState;
#define THCudaCheck(EXPR) C10_CUDA_CHECK(EXPR)
template <class T> T THCCeilDiv(T a, T b) { return (a + b - 1) / b; }
