// Operators that name cuda, carried to the chip.
//
// Asked:  which calls hold the word cuda, and what do they cost?
// Answer: - Calls without a tensor (factories) reach the CUDA key, where no tensor ever is: a fallback there renames the device
//           and calls the chip's kernel. `empty` and `empty_strided`, which the others end in, have kernels of their own.
//         - `to`, called on a tensor of the chip, renames before it compares, so that x.to("cuda") is x.
//         - Other operators with both a tensor and a device go to the chip's kernel. Where the plug-in registered one, the
//           device is renamed at BackendSelect, which lies below autograd and above every kernel.
//         - Calls that name no device meet none of this.
// Limits: operators that a plug-in registers after `forebay_chip_ready` and that take a device are not renamed.
#include "redirect.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <ATen/ops/empty_ops.h>
#include <ATen/ops/empty_strided_ops.h>
#include <ATen/ops/to_native.h>
#include <torch/library.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#define FOREBAY_JOIN(a, b) FOREBAY_JOIN_(a, b)
#define FOREBAY_JOIN_(a, b) a##b

namespace forebay {

using at::Tensor;
using c10::DispatchKey;
using c10::DispatchKeySet;
using c10::IValue;
using c10::OperatorHandle;
using torch::jit::Stack;

namespace {

constexpr DispatchKey kAutograd = DispatchKey::FOREBAY_JOIN(Autograd, FOREBAY_CHIP);
constexpr DispatchKey kAutocast = DispatchKey::FOREBAY_JOIN(Autocast, FOREBAY_CHIP);

void rename(const OperatorHandle& op, Stack* stack) {
  const size_t arguments = op.schema().arguments().size();
  for (size_t i = stack->size() - arguments; i < stack->size(); ++i) {
    IValue& value = (*stack)[i];
    if (value.isDevice()) {
      value = on_chip(value.toDevice());
    } else if (value.isStream()) {
      const c10::Stream stream = value.toStream();
      if (stream.device_type() == c10::kCUDA) {
        value = c10::Stream(c10::Stream::UNSAFE, on_chip(stream.device()), stream.id());
      }
    }
  }
}

void call_the_chips(const OperatorHandle& op, Stack* stack) {
  rename(op, stack);
  op.redispatchBoxed(DispatchKeySet(kChipKey), stack);
}

void rename_and_go_on(const OperatorHandle& op, DispatchKeySet keys, Stack* stack) {
  rename(op, stack);
  op.redispatchBoxed(keys & DispatchKeySet(DispatchKeySet::FULL_AFTER, DispatchKey::BackendSelect), stack);
}

Tensor empty(
    c10::SymIntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
    std::optional<at::Device> device, std::optional<bool> pin, std::optional<at::MemoryFormat> format) {
  return at::_ops::empty_memory_format::redispatch(
      DispatchKeySet(kChipKey), size, dtype, layout, on_chip(device), pin, format);
}

Tensor empty_strided(
    c10::SymIntArrayRef size, c10::SymIntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout,
    std::optional<at::Device> device, std::optional<bool> pin) {
  return at::_ops::empty_strided::redispatch(DispatchKeySet(kChipKey), size, stride, dtype, layout, on_chip(device), pin);
}

Tensor to_device(
    const Tensor& self, at::Device device, at::ScalarType dtype, bool non_blocking, bool copy,
    std::optional<at::MemoryFormat> format) {
  return at::native::to(self, on_chip(device), dtype, non_blocking, copy, format);
}

Tensor to_options(
    const Tensor& self, std::optional<at::ScalarType> dtype, std::optional<at::Layout> layout, std::optional<at::Device> device,
    std::optional<bool> pin, bool non_blocking, bool copy, std::optional<at::MemoryFormat> format) {
  return at::native::to(self, dtype, layout, on_chip(device), pin, non_blocking, copy, format);
}

// Whether a parameter may take over the tensor that its module moved to the chip, and so stay the same object. Torch says no for
// PrivateUse1, where a plug-in may have a tensor class of its own.
bool may_become(const Tensor& self, const Tensor& from) {
  const auto plain = [](const Tensor& tensor) {
    return tensor.layout() == c10::kStrided && (tensor.is_cpu() || tensor.device().type() == kChip);
  };
  return (plain(self) && plain(from)) || self.unsafeGetTensorImpl()->has_compatible_shallow_copy_type(from.key_set());
}

// ---- autocast: the lists are CUDA's own, in torch's header; only the device differs

Tensor binary_cross_entropy(const Tensor&, const Tensor&, const std::optional<Tensor>&, int64_t) {
  TORCH_CHECK(
      false,
      "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
      "Use torch.nn.functional.binary_cross_entropy_with_logits or torch.nn.BCEWithLogitsLoss, or leave autocast around it.");
}

void cast_as_cuda_does(torch::Library& m) {
  using at::IntArrayRef, at::Scalar, at::ScalarType;  // torch's lists name them so
#define FOREBAY_LOWER(...) KERNEL(kChip, __VA_ARGS__, lower_precision_fp)
#define FOREBAY_FP32(...) KERNEL(kChip, __VA_ARGS__, fp32)
#define FOREBAY_FP32_OPTION(...) KERNEL(kChip, __VA_ARGS__, fp32_set_opt_dtype)
#define FOREBAY_FP32_APPEND(...) KERNEL_DIFFERENT_REDISPATCH_SIGNATURE(kChip, __VA_ARGS__)
#define FOREBAY_PROMOTE(...) KERNEL(kChip, __VA_ARGS__, promote)
  AT_FORALL_LOWER_PRECISION_FP(FOREBAY_LOWER)
  AT_FORALL_FP32(FOREBAY_FP32)
  AT_FORALL_FP32_SET_OPT_DTYPE(FOREBAY_FP32_OPTION)
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(FOREBAY_FP32_APPEND)
  AT_FORALL_PROMOTE(FOREBAY_PROMOTE)
  m.impl("binary_cross_entropy", TORCH_FN(binary_cross_entropy));
}

// ---- what is known only when the plug-in is there

bool names_a_place(const c10::FunctionSchema& schema) {
  return std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const c10::Argument& argument) {
    const std::string type = argument.type()->str();
    return type == "Device" || type == "Device?" || type == "Stream";
  });
}

bool takes_a_tensor(const c10::FunctionSchema& schema) {
  return std::any_of(schema.arguments().begin(), schema.arguments().end(), [](const c10::Argument& argument) {
    return argument.type()->str().find("Tensor") != std::string::npos;
  });
}

// The operators of the plug-in's own kernels that hold a tensor and a device (or a stream) both.
std::vector<c10::OperatorName> renamed_at_backend_select() {
  std::vector<c10::OperatorName> names;
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getRegistrationsForDispatchKey(kChipKey)) {
    const auto op = dispatcher.findSchema(name);
    if (op && names_a_place(op->schema()) && takes_a_tensor(op->schema()) &&
        !op->hasKernelForDispatchKey(DispatchKey::BackendSelect)) {
      names.push_back(name);
    }
  }
  return names;
}

std::string full_name(const c10::OperatorName& name) {
  return name.overload_name.empty() ? name.name : name.name + "." + name.overload_name;
}

TORCH_LIBRARY_IMPL(_, CUDA, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&call_the_chips>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, m) {
  m.impl("empty.memory_format", TORCH_FN(empty));
  m.impl("empty_strided", TORCH_FN(empty_strided));
  m.impl("_to_copy", torch::CppFunction::makeFromBoxedFunction<&call_the_chips>());  // torch chooses its key by the target
}

}  // namespace
}  // namespace forebay

extern "C" {

// Called once, when the plug-in has registered its kernels. `plain_tensors`: its tensors are of torch's own class. Returns how many operators are renamed at BackendSelect.
int forebay_chip_ready(int plain_tensors) {
  using namespace forebay;
  static std::vector<std::unique_ptr<torch::Library>> libraries;  // a library that goes takes its kernels along
  const auto open = [](const char* scope, std::optional<DispatchKey> key) -> torch::Library& {
    libraries.push_back(std::make_unique<torch::Library>(torch::Library::IMPL, scope, key, __FILE__, __LINE__));
    return *libraries.back();
  };
  cast_as_cuda_does(open("aten", kAutocast));
  if (!c10::Dispatcher::singleton().hasBackendFallbackForDispatchKey(kAutocast)) {
    open("_", kAutocast).fallback(torch::CppFunction::makeFallthrough());
  }
  for (const DispatchKey key : {kAutograd, kChipKey}) {  // the second is for inference mode
    torch::Library& m = open("aten", key);
    m.impl("to.device", TORCH_FN(to_device));
    m.impl("to.dtype_layout", TORCH_FN(to_options));
    if (plain_tensors) {
      m.impl("_has_compatible_shallow_copy_type", TORCH_FN(may_become));
    }
  }
  const auto names = renamed_at_backend_select();
  for (const c10::OperatorName& name : names) {
    const std::string scope = name.name.substr(0, name.name.find("::"));
    if (name.name != "aten::to") {
      open(scope.c_str(), DispatchKey::BackendSelect)
          .impl(full_name(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&rename_and_go_on>());
    }
  }
  return static_cast<int>(names.size());
}

}  // extern "C"
