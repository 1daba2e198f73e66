// What stands in for CUDA's headers. In a .cu file all of CUDA; elsewhere its types and its runtime, and the markers of
// functions mean nothing. (In a .cu file rewrite.py reads the markers after preprocessing, so they must not be macros.)
#pragma once

#include "older_torch.h"

#ifdef FOREBAY_CUDA_SOURCE
#include "cuda.h"
#else
#include "half.h"
#include "runtime.h"
#define __host__
#define __device__
#define __global__
#define __shared__
#define __constant__
#define __managed__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#endif
