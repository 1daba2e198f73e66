// CUDA's mathematical functions and intrinsics that the C library doesn't have. The fast ones are the exact ones here.
#pragma once

#include <math.h>
#include <stdlib.h>

#include <cstring>
#include <limits>
#include <type_traits>

#include "types.h"

namespace forebay_cuda FOREBAY_HIDDEN {
template <class To, class From>
To same_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "bits of another size");
  To result;
  std::memcpy(&result, &value, sizeof(To));
  return result;
}
// A conversion that stops at the type's ends and gives 0 for NaN, as the cards do.
template <class To, class From>
To clamp_to(From value) {
  if (value != value) return 0;
  if (value <= static_cast<From>(std::numeric_limits<To>::min())) return std::numeric_limits<To>::min();
  if (value >= static_cast<From>(std::numeric_limits<To>::max())) return std::numeric_limits<To>::max();
  return static_cast<To>(value);
}
}  // namespace forebay_cuda

// ---- max and min, for each pair of arithmetic types
#define FOREBAY_EXTREMES(T)                                    \
  static inline T max(T a, T b) { return a < b ? b : a; }      \
  static inline T min(T a, T b) { return b < a ? b : a; }
FOREBAY_EXTREMES(int)
FOREBAY_EXTREMES(unsigned)
FOREBAY_EXTREMES(long)
FOREBAY_EXTREMES(unsigned long)
FOREBAY_EXTREMES(long long)
FOREBAY_EXTREMES(unsigned long long)
#undef FOREBAY_EXTREMES
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline float min(float a, float b) { return fminf(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
template <class A, class B>
using ForebayBoth = std::enable_if_t<std::is_arithmetic<A>::value && std::is_arithmetic<B>::value && !std::is_same<A, B>::value,
                                      std::common_type_t<A, B>>;
template <class A, class B> ForebayBoth<A, B> max(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(a) < T(b) ? T(b) : T(a);
}
template <class A, class B> ForebayBoth<A, B> min(A a, B b) {
  using T = std::common_type_t<A, B>;
  return T(b) < T(a) ? T(b) : T(a);
}
static inline unsigned umax(unsigned a, unsigned b) { return max(a, b); }
static inline unsigned umin(unsigned a, unsigned b) { return min(a, b); }

// ---- functions
static inline float rsqrtf(float a) { return 1.0f / sqrtf(a); }
static inline double rsqrt(double a) { return 1.0 / sqrt(a); }
static inline float rsqrt(float a) { return rsqrtf(a); }
static inline float rcbrtf(float a) { return 1.0f / cbrtf(a); }
static inline double rcbrt(double a) { return 1.0 / cbrt(a); }
static inline float rhypotf(float a, float b) { return 1.0f / hypotf(a, b); }
static inline float norm3df(float a, float b, float c) { return sqrtf(a * a + b * b + c * c); }
static inline double norm3d(double a, double b, double c) { return sqrt(a * a + b * b + c * c); }
static inline float sinpif(float a) { return static_cast<float>(sin(M_PI * a)); }
static inline float cospif(float a) { return static_cast<float>(cos(M_PI * a)); }
static inline double sinpi(double a) { return sin(M_PI * a); }
static inline double cospi(double a) { return cos(M_PI * a); }
static inline float normcdff(float a) { return 0.5f * erfcf(-a * 0.70710678f); }
static inline double normcdf(double a) { return 0.5 * erfc(-a * M_SQRT1_2); }
static inline float fdividef(float a, float b) { return a / b; }
static inline float __fdividef(float a, float b) { return a / b; }
// The C library declares these names for itself, so they are macros here.
#define __expf(a) expf(a)
#define __exp10f(a) powf(10.0f, a)
#define __logf(a) logf(a)
#define __log2f(a) log2f(a)
#define __log10f(a) log10f(a)
#define __powf(a, b) powf(a, b)
#define __sinf(a) sinf(a)
#define __cosf(a) cosf(a)
#define __tanf(a) tanf(a)
#define __tanhf(a) tanhf(a)
#define __sincosf(a, s, c) sincosf(a, s, c)
static inline float __saturatef(float a) { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; }
static inline float saturate(float a) { return __saturatef(a); }
#define FOREBAY_ROUNDED(way)                                                                   \
  static inline float __fadd_##way(float a, float b) { return a + b; }                         \
  static inline float __fsub_##way(float a, float b) { return a - b; }                         \
  static inline float __fmul_##way(float a, float b) { return a * b; }                         \
  static inline float __fdiv_##way(float a, float b) { return a / b; }                         \
  static inline float __fmaf_##way(float a, float b, float c) { return fmaf(a, b, c); }        \
  static inline float __frcp_##way(float a) { return 1.0f / a; }                               \
  static inline float __fsqrt_##way(float a) { return sqrtf(a); }                              \
  static inline double __dadd_##way(double a, double b) { return a + b; }                      \
  static inline double __dsub_##way(double a, double b) { return a - b; }                      \
  static inline double __dmul_##way(double a, double b) { return a * b; }                      \
  static inline double __ddiv_##way(double a, double b) { return a / b; }                      \
  static inline double __fma_##way(double a, double b, double c) { return fma(a, b, c); }      \
  static inline double __drcp_##way(double a) { return 1.0 / a; }                              \
  static inline double __dsqrt_##way(double a) { return sqrt(a); }
FOREBAY_ROUNDED(rn)
#undef FOREBAY_ROUNDED
static inline float __frsqrt_rn(float a) { return rsqrtf(a); }

// ---- conversions and bits
#define FOREBAY_TO_INTEGERS(way, round)                                                                                            \
  static inline int __float2int_##way(float a) { return forebay_cuda::clamp_to<int>(round##f(a)); }                                \
  static inline unsigned __float2uint_##way(float a) { return forebay_cuda::clamp_to<unsigned>(round##f(a)); }                     \
  static inline long long __float2ll_##way(float a) { return forebay_cuda::clamp_to<long long>(round##f(a)); }                     \
  static inline int __double2int_##way(double a) { return forebay_cuda::clamp_to<int>(round(a)); }                                 \
  static inline unsigned __double2uint_##way(double a) { return forebay_cuda::clamp_to<unsigned>(round(a)); }                      \
  static inline long long __double2ll_##way(double a) { return forebay_cuda::clamp_to<long long>(round(a)); }
FOREBAY_TO_INTEGERS(rn, rint)
FOREBAY_TO_INTEGERS(rz, trunc)
FOREBAY_TO_INTEGERS(ru, ceil)
FOREBAY_TO_INTEGERS(rd, floor)
#undef FOREBAY_TO_INTEGERS
static inline float __int2float_rn(int a) { return static_cast<float>(a); }
static inline float __int2float_rz(int a) { return static_cast<float>(a); }
static inline float __uint2float_rn(unsigned a) { return static_cast<float>(a); }
static inline float __ll2float_rn(long long a) { return static_cast<float>(a); }
static inline float __ull2float_rn(unsigned long long a) { return static_cast<float>(a); }
static inline double __int2double_rn(int a) { return a; }
static inline double __ll2double_rn(long long a) { return static_cast<double>(a); }
static inline float __double2float_rn(double a) { return static_cast<float>(a); }
static inline int __float_as_int(float a) { return forebay_cuda::same_bits<int>(a); }
static inline unsigned __float_as_uint(float a) { return forebay_cuda::same_bits<unsigned>(a); }
static inline float __int_as_float(int a) { return forebay_cuda::same_bits<float>(a); }
static inline float __uint_as_float(unsigned a) { return forebay_cuda::same_bits<float>(a); }
static inline long long __double_as_longlong(double a) { return forebay_cuda::same_bits<long long>(a); }
static inline double __longlong_as_double(long long a) { return forebay_cuda::same_bits<double>(a); }
static inline int __double2hiint(double a) { return static_cast<int>(__double_as_longlong(a) >> 32); }
static inline int __double2loint(double a) { return static_cast<int>(__double_as_longlong(a)); }
static inline double __hiloint2double(int high, int low) {
  return __longlong_as_double(static_cast<long long>(static_cast<unsigned long long>(static_cast<unsigned>(high)) << 32 | static_cast<unsigned>(low)));
}
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __clz(int a) { return a ? __builtin_clz(static_cast<unsigned>(a)) : 32; }
static inline int __clzll(long long a) { return a ? __builtin_clzll(static_cast<unsigned long long>(a)) : 64; }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __ffsll(long long a) { return __builtin_ffsll(a); }
static inline unsigned __brev(unsigned a) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (a >> i & 1u) << (31 - i);
  return r;
}
static inline int __mul24(int a, int b) { return ((a << 8) >> 8) * ((b << 8) >> 8); }
static inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffff) * (b & 0xffffff); }
static inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
static inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
  const unsigned long long both = static_cast<unsigned long long>(b) << 32 | a;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    const unsigned pick = select >> (4 * i), byte = static_cast<unsigned>(both >> (8 * (pick & 7))) & 0xff;
    r |= ((pick & 8) ? (byte & 0x80 ? 0xffu : 0u) : byte) << (8 * i);
  }
  return r;
}
static inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) << (by & 31) >> 32);
}
static inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (by & 31));
}

// ---- loads and stores that hint at a cache
template <class T> T __ldg(const T* place) { return *place; }
template <class T> T __ldcg(const T* place) { return *place; }
template <class T> T __ldca(const T* place) { return *place; }
template <class T> T __ldcs(const T* place) { return *place; }
template <class T> T __ldlu(const T* place) { return *place; }
template <class T> T __ldcv(const T* place) { return *place; }
template <class T> void __stwb(T* place, T value) { *place = value; }
template <class T> void __stcg(T* place, T value) { *place = value; }
template <class T> void __stcs(T* place, T value) { *place = value; }
template <class T> void __stwt(T* place, T value) { *place = value; }
static inline bool __isGlobal(const void*) { return true; }
