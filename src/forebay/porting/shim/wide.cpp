// Products of 16-bit numbers, on a CPU that has no instructions for them.
//
// Asked:  a script trains in bf16 or fp16, as on a card. On a CPU without 16-bit arithmetic torch's matrix products take some
//         fifty times as long as in fp32 (1.3 and 79 GFLOP/s on one core of an EPYC with AVX2). Must they?
// Answer: no. The arguments are widened to fp32, the product is made there, and its result is rounded once. That is what a card
//         does, too: it sums in fp32 and rounds at the end.
// Limits: matrix products, convolutions and attention only, and only where the processor lacks the instructions: elsewhere
//         torch's own kernels run. The arguments are held twice, for the time of the call. A replayed graph doesn't do it.
#include "shim.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <optional>
#include <string>

namespace forebay {

namespace {

constexpr int64_t kSmall = 512;  // elements: below, widening costs what it saves

// The processor's features, as Linux lists them; empty elsewhere.
std::string features() {
  std::ifstream told("/proc/cpuinfo");
  for (std::string line; std::getline(told, line);) {
    if (line.rfind("flags", 0) == 0) {
      return line + " ";
    }
  }
  return "";
}

// Whether torch has kernels for this type that are made for this processor: the conditions under which it uses oneDNN's.
bool is_native(at::ScalarType type) {
  static const std::string flags = features();
  static const auto has = [](const char* feature) { return flags.find(std::string(" ") + feature + " ") != std::string::npos; };
  static const bool bf16 = flags.empty() || (has("avx512bw") && has("avx512vl") && has("avx512dq"));
  static const bool fp16 = flags.empty() || has("avx512_fp16") || has("amx_fp16");
  return type == at::kBFloat16 ? bf16 : fp16;
}

}  // namespace

Product product_of(const std::string& name) {
  const std::string attention = "aten::_scaled_dot_product_flash_attention_for_cpu";
  if (name == attention) {
    return Product::attention;
  }
  if (name == attention + "_backward") {
    return Product::attention_backward;
  }
  static const char* const plain[] = {"aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "aten::convolution",
                                      "aten::convolution_backward"};
  const bool found = std::any_of(std::begin(plain), std::end(plain), [&](const char* one) { return name == one; });
  return found ? Product::plain : Product::none;
}

std::optional<at::ScalarType> widen(Product product, torch::jit::Stack* stack, size_t base) {
  std::optional<at::ScalarType> narrow;
  bool wide_too = false;
  int64_t most = 0;
  const size_t end = stack->size();
  for (size_t i = base; i < end; ++i) {
    if (!(*stack)[i].isTensor() || !(*stack)[i].toTensor().defined()) {
      continue;
    }
    const at::Tensor& tensor = (*stack)[i].toTensor();
    const at::ScalarType type = tensor.scalar_type();
    if (type != at::kBFloat16 && type != at::kHalf) {
      wide_too = true;
    } else if (narrow && *narrow != type) {
      return std::nullopt;
    } else {
      narrow = type;
      most = std::max(most, tensor.numel());
    }
  }
  // Mixed types: torch has its own words for that. Attention has a mask and sums that may be wide.
  if (!narrow || most < kSmall || (wide_too && product == Product::plain) || is_native(*narrow)) {
    return std::nullopt;
  }
  for (size_t i = base; i < end; ++i) {
    if ((*stack)[i].isTensor() && (*stack)[i].toTensor().defined() && (*stack)[i].toTensor().scalar_type() == *narrow) {
      (*stack)[i] = (*stack)[i].toTensor().to(at::kFloat);
    }
  }
  return narrow;
}

void round_results(Product product, torch::jit::Stack* stack, size_t returns, at::ScalarType narrow) {
  const size_t base = stack->size() - returns;
  const size_t end = product == Product::attention ? base + 1 : stack->size();  // its second result, the sums, is wide
  for (size_t i = base; i < end; ++i) {
    if ((*stack)[i].isTensor() && (*stack)[i].toTensor().defined()) {
      (*stack)[i] = (*stack)[i].toTensor().to(narrow);
    }
  }
}

}  // namespace forebay
