// All of CUDA that a .cu file has without an include.
#pragma once

#include <cassert>
#include <cstdio>

#include "types.h"
#include "runtime.h"
#include "maths.h"
#include "half.h"
#include "launch.h"
#include "warp.h"
#include "atomics.h"
