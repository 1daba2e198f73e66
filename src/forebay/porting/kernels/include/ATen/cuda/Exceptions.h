#pragma once
#include <ATen/Context.h>
#include <c10/cuda/CUDAException.h>
