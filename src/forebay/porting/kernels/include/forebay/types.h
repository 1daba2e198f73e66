// CUDA's own types and built-in variables, for the host.
#pragma once

#include <cstddef>
#include <cstdint>

#define FOREBAY_HIDDEN __attribute__((visibility("hidden")))

#define FOREBAY_VECTOR(T, name)                        \
  struct name##1 { T x; };                             \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };   \
  struct name##3 { T x, y, z; };                       \
  struct alignas(sizeof(T) < 8 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; }; \
  static inline name##1 make_##name##1(T x) { return {x}; }                     \
  static inline name##2 make_##name##2(T x, T y) { return {x, y}; }             \
  static inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; }     \
  static inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }

FOREBAY_VECTOR(signed char, char)
FOREBAY_VECTOR(unsigned char, uchar)
FOREBAY_VECTOR(short, short)
FOREBAY_VECTOR(unsigned short, ushort)
FOREBAY_VECTOR(int, int)
FOREBAY_VECTOR(unsigned int, uint)
FOREBAY_VECTOR(long, long)
FOREBAY_VECTOR(unsigned long, ulong)
FOREBAY_VECTOR(long long, longlong)
FOREBAY_VECTOR(unsigned long long, ulonglong)
FOREBAY_VECTOR(float, float)
FOREBAY_VECTOR(double, double)
#undef FOREBAY_VECTOR

struct dim3 {
  unsigned int x, y, z;
  constexpr dim3(unsigned int x = 1, unsigned int y = 1, unsigned int z = 1) : x(x), y(y), z(z) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

// Each thread of the host runs one block at a time; the scheduler in fibres.h sets these before it continues a CUDA thread.
FOREBAY_HIDDEN inline thread_local uint3 threadIdx{0, 0, 0};
FOREBAY_HIDDEN inline thread_local uint3 blockIdx{0, 0, 0};
FOREBAY_HIDDEN inline thread_local dim3 blockDim{1, 1, 1};
FOREBAY_HIDDEN inline thread_local dim3 gridDim{1, 1, 1};
static constexpr int warpSize = 32;
