// __half and __nv_bfloat16, in pairs too: arithmetic in float, rounded once to nearest even, as the cards do it.
#pragma once

#include <math.h>

#include <cstring>

#include "types.h"

struct __half_raw { unsigned short x; };
struct __nv_bfloat16_raw { unsigned short x; };

namespace forebay_cuda FOREBAY_HIDDEN {
inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return bits;
}
inline float float_of(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}
inline float from_half(unsigned short half) {
  const std::uint32_t sign = std::uint32_t(half & 0x8000) << 16, body = half & 0x7fff;
  if (body >= 0x7c00) return float_of(sign | 0x7f800000u | (body & 0x3ff) << 13);
  return float_of(sign | bits_of(float_of(body << 13) * 0x1p112f));
}
inline unsigned short to_half(float value) {
  std::uint32_t x = bits_of(value);
  const unsigned short sign = (x >> 16) & 0x8000;
  x &= 0x7fffffffu;
  if (x > 0x7f800000u) return sign | 0x7fff;
  if (x >= 0x477ff000u) return sign | 0x7c00;                                                     // 65520 and more
  if (x < 0x38800000u) return sign | static_cast<unsigned short>(bits_of(float_of(x) + 0.5f) - 0x3f000000u);  // subnormal
  x += 0xfff + (x >> 13 & 1);
  return sign | static_cast<unsigned short>((x - 0x38000000u) >> 13);
}
inline float from_bfloat16(unsigned short value) { return float_of(std::uint32_t(value) << 16); }
inline unsigned short to_bfloat16(float value) {
  std::uint32_t x = bits_of(value);
  if ((x & 0x7fffffffu) > 0x7f800000u) return 0x7fff;
  return static_cast<unsigned short>((x + 0x7fff + (x >> 16 & 1)) >> 16);
}
}  // namespace forebay_cuda

#ifdef __CUDA_NO_HALF_CONVERSIONS__
#define FOREBAY_HALF_CONVERSIONS(name, from, to)
#else
#define FOREBAY_HALF_CONVERSIONS(name, from, to)                                                              \
  name(float value) : __x(forebay_cuda::to(value)) {}                                                         \
  name(double value) : __x(forebay_cuda::to(static_cast<float>(value))) {}                                    \
  name(int value) : __x(forebay_cuda::to(static_cast<float>(value))) {}                                       \
  operator float() const { return forebay_cuda::from(__x); }
#endif

#define FOREBAY_HALF(name, pair, raw, from, to)                                        \
  struct name {                                                                        \
    unsigned short __x;                                                                \
    name() = default;                                                                  \
    name(const raw& bits) : __x(bits.x) {}                                             \
    operator raw() const { return {__x}; }                                             \
    FOREBAY_HALF_CONVERSIONS(name, from, to)                                           \
  };                                                                                   \
  struct alignas(4) pair {                                                             \
    name x, y;                                                                         \
    pair() = default;                                                                  \
    pair(const name& x, const name& y) : x(x), y(y) {}                                 \
  };                                                                                   \
  namespace forebay_cuda FOREBAY_HIDDEN {                                              \
  inline float wide(name value) { return from(value.__x); }                            \
  inline name narrow(float value, name) { return raw{to(value)}; }                     \
  }
FOREBAY_HALF(__half, __half2, __half_raw, from_half, to_half)
FOREBAY_HALF(__nv_bfloat16, __nv_bfloat162, __nv_bfloat16_raw, from_bfloat16, to_bfloat16)
#undef FOREBAY_HALF
#undef FOREBAY_HALF_CONVERSIONS

typedef __half half;
typedef __half2 half2;
typedef __half __nv_half;
typedef __nv_bfloat16 nv_bfloat16;
typedef __nv_bfloat162 nv_bfloat162;

// ---- conversions
#define FOREBAY_CONVERSIONS(T, T2, word)                                                                   \
  static inline T __float2##word(float a) { return forebay_cuda::narrow(a, T()); }                         \
  static inline T __float2##word##_rn(float a) { return __float2##word(a); }                               \
  static inline T __double2##word(double a) { return __float2##word(static_cast<float>(a)); }              \
  static inline T __int2##word##_rn(int a) { return __float2##word(static_cast<float>(a)); }               \
  static inline float __##word##2float(T a) { return forebay_cuda::wide(a); }                              \
  static inline int __##word##2int_rn(T a) { return static_cast<int>(rintf(forebay_cuda::wide(a))); }      \
  static inline int __##word##2int_rz(T a) { return static_cast<int>(forebay_cuda::wide(a)); }             \
  static inline unsigned short __##word##_as_ushort(T a) { return a.__x; }                                 \
  static inline short __##word##_as_short(T a) { return static_cast<short>(a.__x); }                       \
  static inline T2 __##word##2##word##2(T a) { return {a, a}; }                                            \
  static inline T2 __float2##word##2_rn(float a) { return {__float2##word(a), __float2##word(a)}; }        \
  static inline T2 __floats2##word##2_rn(float a, float b) { return {__float2##word(a), __float2##word(b)}; } \
  static inline float2 __##word##22float2(T2 a) { return {forebay_cuda::wide(a.x), forebay_cuda::wide(a.y)}; } \
  static inline T2 __float22##word##2_rn(float2 a) { return {__float2##word(a.x), __float2##word(a.y)}; }  \
  static inline T2 __halves2##word##2(T a, T b) { return {a, b}; }
FOREBAY_CONVERSIONS(__half, __half2, half)
FOREBAY_CONVERSIONS(__nv_bfloat16, __nv_bfloat162, bfloat16)
#undef FOREBAY_CONVERSIONS
static inline __half __ushort_as_half(unsigned short bits) { return __half_raw{bits}; }
static inline __half __short_as_half(short bits) { return __half_raw{static_cast<unsigned short>(bits)}; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return __nv_bfloat16_raw{bits}; }

// ---- arithmetic, for both types and their pairs
#define FOREBAY_TWO(T, T2, name, result)                                                                          \
  static inline T name(T a_, T b_) {                                                                              \
    const float a = forebay_cuda::wide(a_), b = forebay_cuda::wide(b_);                                           \
    return forebay_cuda::narrow(result, T());                                                                     \
  }                                                                                                               \
  static inline T2 name##2(T2 a, T2 b) { return {name(a.x, b.x), name(a.y, b.y)}; }
#define FOREBAY_ONE(T, T2, name, pair_name, result)                                                               \
  static inline T name(T a_) {                                                                                    \
    const float a = forebay_cuda::wide(a_);                                                                       \
    return forebay_cuda::narrow(result, T());                                                                     \
  }                                                                                                               \
  static inline T2 pair_name(T2 a) { return {name(a.x), name(a.y)}; }
#define FOREBAY_ASK(T, name, result)                                                                              \
  static inline bool name(T a_, T b_) {                                                                           \
    const float a = forebay_cuda::wide(a_), b = forebay_cuda::wide(b_);                                           \
    return result;                                                                                                \
  }
#define FOREBAY_ARITHMETIC(T, T2)                                                                                 \
  FOREBAY_TWO(T, T2, __hadd, a + b)                                                                               \
  FOREBAY_TWO(T, T2, __hsub, a - b)                                                                               \
  FOREBAY_TWO(T, T2, __hmul, a * b)                                                                               \
  FOREBAY_TWO(T, T2, __hdiv, a / b)                                                                               \
  FOREBAY_TWO(T, T2, __hmax, fmaxf(a, b))                                                                         \
  FOREBAY_TWO(T, T2, __hmin, fminf(a, b))                                                                         \
  FOREBAY_ONE(T, T2, __hneg, __hneg2, -a)                                                                         \
  FOREBAY_ONE(T, T2, __habs, __habs2, fabsf(a))                                                                   \
  FOREBAY_ONE(T, T2, hexp, h2exp, expf(a))                                                                        \
  FOREBAY_ONE(T, T2, hexp2, h2exp2, exp2f(a))                                                                     \
  FOREBAY_ONE(T, T2, hlog, h2log, logf(a))                                                                        \
  FOREBAY_ONE(T, T2, hlog2, h2log2, log2f(a))                                                                     \
  FOREBAY_ONE(T, T2, hsqrt, h2sqrt, sqrtf(a))                                                                     \
  FOREBAY_ONE(T, T2, hrsqrt, h2rsqrt, 1.0f / sqrtf(a))                                                            \
  FOREBAY_ONE(T, T2, hrcp, h2rcp, 1.0f / a)                                                                       \
  FOREBAY_ONE(T, T2, hsin, h2sin, sinf(a))                                                                        \
  FOREBAY_ONE(T, T2, hcos, h2cos, cosf(a))                                                                        \
  FOREBAY_ONE(T, T2, htanh, h2tanh, tanhf(a))                                                                     \
  FOREBAY_ONE(T, T2, hfloor, h2floor, floorf(a))                                                                  \
  FOREBAY_ONE(T, T2, hceil, h2ceil, ceilf(a))                                                                     \
  FOREBAY_ASK(T, __heq, a == b)                                                                                   \
  FOREBAY_ASK(T, __hne, a != b)                                                                                   \
  FOREBAY_ASK(T, __hlt, a < b)                                                                                    \
  FOREBAY_ASK(T, __hle, a <= b)                                                                                   \
  FOREBAY_ASK(T, __hgt, a > b)                                                                                    \
  FOREBAY_ASK(T, __hge, a >= b)                                                                                   \
  static inline bool __hisnan(T a) { return isnan(forebay_cuda::wide(a)); }                                       \
  static inline int __hisinf(T a) { return isinf(forebay_cuda::wide(a)); }                                        \
  static inline T __hfma(T a, T b, T c) {                                                                         \
    return forebay_cuda::narrow(fmaf(forebay_cuda::wide(a), forebay_cuda::wide(b), forebay_cuda::wide(c)), T());  \
  }                                                                                                               \
  static inline T2 __hfma2(T2 a, T2 b, T2 c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
FOREBAY_ARITHMETIC(__half, __half2)
FOREBAY_ARITHMETIC(__nv_bfloat16, __nv_bfloat162)
#undef FOREBAY_ARITHMETIC
#undef FOREBAY_TWO
#undef FOREBAY_ONE
#undef FOREBAY_ASK

static inline __half __low2half(__half2 a) { return a.x; }
static inline __half __high2half(__half2 a) { return a.y; }
static inline float __low2float(__half2 a) { return forebay_cuda::wide(a.x); }
static inline float __high2float(__half2 a) { return forebay_cuda::wide(a.y); }
static inline __half2 __low2half2(__half2 a) { return {a.x, a.x}; }
static inline __half2 __high2half2(__half2 a) { return {a.y, a.y}; }
static inline __half2 __lowhigh2highlow(__half2 a) { return {a.y, a.x}; }
static inline __half2 make_half2(__half a, __half b) { return {a, b}; }
static inline __half2 h2div(__half2 a, __half2 b) { return __hdiv2(a, b); }
static inline __nv_bfloat16 __low2bfloat16(__nv_bfloat162 a) { return a.x; }
static inline __nv_bfloat16 __high2bfloat16(__nv_bfloat162 a) { return a.y; }
static inline float __low2float(__nv_bfloat162 a) { return forebay_cuda::wide(a.x); }
static inline float __high2float(__nv_bfloat162 a) { return forebay_cuda::wide(a.y); }
static inline __nv_bfloat162 make_bfloat162(__nv_bfloat16 a, __nv_bfloat16 b) { return {a, b}; }

// torch switches these off with a macro, as its own Half has them.
#define FOREBAY_OPERATORS(T, T2)                                                     \
  static inline T operator+(T a, T b) { return __hadd(a, b); }                       \
  static inline T operator-(T a, T b) { return __hsub(a, b); }                       \
  static inline T operator*(T a, T b) { return __hmul(a, b); }                       \
  static inline T operator/(T a, T b) { return __hdiv(a, b); }                       \
  static inline T operator-(T a) { return __hneg(a); }                               \
  static inline T& operator+=(T& a, T b) { return a = __hadd(a, b); }                \
  static inline T& operator-=(T& a, T b) { return a = __hsub(a, b); }                \
  static inline T& operator*=(T& a, T b) { return a = __hmul(a, b); }                \
  static inline T& operator/=(T& a, T b) { return a = __hdiv(a, b); }                \
  static inline bool operator==(T a, T b) { return __heq(a, b); }                    \
  static inline bool operator!=(T a, T b) { return __hne(a, b); }                    \
  static inline bool operator<(T a, T b) { return __hlt(a, b); }                     \
  static inline bool operator<=(T a, T b) { return __hle(a, b); }                    \
  static inline bool operator>(T a, T b) { return __hgt(a, b); }                     \
  static inline bool operator>=(T a, T b) { return __hge(a, b); }                    \
  static inline T2 operator+(T2 a, T2 b) { return __hadd2(a, b); }                   \
  static inline T2 operator-(T2 a, T2 b) { return __hsub2(a, b); }                   \
  static inline T2 operator*(T2 a, T2 b) { return __hmul2(a, b); }                   \
  static inline T2 operator/(T2 a, T2 b) { return __hdiv2(a, b); }
#ifndef __CUDA_NO_HALF_OPERATORS__
FOREBAY_OPERATORS(__half, __half2)
#endif
#ifndef __CUDA_NO_BFLOAT16_OPERATORS__
FOREBAY_OPERATORS(__nv_bfloat16, __nv_bfloat162)
#endif
#undef FOREBAY_OPERATORS
