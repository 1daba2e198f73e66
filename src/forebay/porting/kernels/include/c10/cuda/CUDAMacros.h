// Nothing is exported from a library of CUDA's.
#pragma once
#define C10_CUDA_API
#define C10_CUDA_IMPORT
#define C10_CUDA_EXPORT
#define TORCH_CUDA_CU_API
#define TORCH_CUDA_CPP_API
#define C10_COMPILE_TIME_MAX_GPUS 120
