// Operators on the simulated cards.
//
// Asked:  what computes when an operator gets cuda tensors?
// Answer: torch's CPU kernel, through one boxed fallback (run_on_host). Registered by name beside it are
//         - what makes or moves tensors: empty, view, set_, resize_, copy_;
//         - what torch would take apart for a device that isn't the CPU: convolution, _foreach_*, attention.
//           Those go to the host whole, so that their speed is the CPU's own (recurrent layers: layers.cpp);
//         - matmul and softmax with a wider result, which only CUDA has.
// Limits: an operator without a CPU kernel fails with torch's own words.
#include "shim.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ops/_fused_sdp_choice.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_for_cpu.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/set_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/flat_hash_map.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_set>

namespace forebay {

using at::Tensor;
using c10::DispatchKey;
using c10::IValue;
using c10::OperatorHandle;
using torch::jit::Stack;

void Crossing::enter(IValue& value) {
  if (value.isTensor()) {
    const Tensor& tensor = value.toTensor();
    if (!tensor.defined() || !tensor.is_cuda()) {
      return;
    }
    if (card < 0) {
      card = tensor.device().index();
    }
    Tensor alias = tensor.layout() == c10::kStrided ? to_host(tensor) : sparse_to_host(tensor, *this);
    pairs.emplace_back(alias, tensor);
    value = std::move(alias);
  } else if (value.isTensorList()) {
    std::vector<Tensor> tensors = value.toTensorVector();
    for (Tensor& tensor : tensors) {
      IValue one(tensor);
      enter(one);
      tensor = one.toTensor();
    }
    value = IValue(std::move(tensors));
  } else if (value.isList()) {
    c10::impl::GenericList entered(value.toList().elementType());
    for (IValue one : value.toListRef()) {
      enter(one);
      entered.push_back(std::move(one));
    }
    value = std::move(entered);
  }
}

void Crossing::leave(IValue& value) {
  if (value.isTensor()) {
    const Tensor& tensor = value.toTensor();
    if (!tensor.defined() || tensor.is_cuda()) {
      return;
    }
    const bool shared = tensor.has_storage() && tensor.storage().use_count() > 1;
    if (tensor.use_count() > 1 || shared) {  // else it's new: nobody else knows it
      for (const auto& [alias, mine] : pairs) {
        if (alias.is_same(tensor)) {
          value = mine;
          return;
        }
      }
      for (const auto& [alias, mine] : pairs) {
        if (shared && alias.has_storage() && mine.is_cuda() && alias.storage().is_alias_of(tensor.storage())) {
          value = view_on_card(tensor, mine);
          return;
        }
      }
    }
    value = tensor.has_storage() ? to_card(tensor, card) : sparse_to_card(tensor, *this);
  } else if (value.isTensorList()) {
    std::vector<Tensor> tensors = value.toTensorVector();
    value = IValue();  // so that a new tensor is held by the vector alone
    for (Tensor& tensor : tensors) {
      IValue one(std::move(tensor));
      leave(one);
      tensor = one.toTensor();
    }
    value = IValue(std::move(tensors));
  } else if (value.isList()) {
    c10::impl::GenericList left(value.toList().elementType());
    for (IValue one : value.toListRef()) {
      leave(one);
      left.push_back(std::move(one));
    }
    value = std::move(left);
  }
}

namespace {

// What the fallback must know of an operator, read from its schema once.
struct Plan {
  std::string name;
  size_t arguments = 0;
  size_t returns = 0;
  int generator_at = -1;   // the place of its Generator argument
  bool hidden_dice = false;  // random without a generator argument
  bool has_out = false;    // an out= argument, which a kernel may resize
  bool mixes = false;      // takes tensors of host and card together, as on a real card
  Product product = Product::none;
  bool waits = false;      // a real card's host waits for its result: not in a graph
  bool bool_index = false;   // the same when it is indexed by a mask
  std::vector<size_t> writes;  // the places of the arguments that it writes to
  std::atomic<uint64_t> calls{0};
};

std::mutex plans_mutex;
std::deque<Plan> plans;  // never shrinks: references to its elements stay valid

// On a real card these take host tensors (indices, lengths, lists of numbers) beside cuda ones.
bool mixes_devices(const std::string& name) {
  for (const char* start : {"aten::index.", "aten::index_put", "aten::_index_put_impl_", "aten::_foreach_", "aten::_ctc_loss",
                            "aten::_pack_padded_sequence", "aten::_unsafe_index", "aten::copy_"}) {
    if (name.rfind(start, 0) == 0) {
      return true;
    }
  }
  return false;
}

// The host asks the card how large the result is, or for the result itself.
bool host_waits_for(const std::string& name) {
  static const std::unordered_set<std::string> names = {
      "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique", "aten::_unique2",
      "aten::unique_dim", "aten::unique_consecutive", "aten::unique_dim_consecutive", "aten::equal", "aten::bincount"};
  return names.count(name.substr(0, name.find('.'))) != 0;
}

Plan& make_plan(const OperatorHandle& op) {
  const c10::FunctionSchema& schema = op.schema();
  std::lock_guard<std::mutex> lock(plans_mutex);
  Plan& plan = plans.emplace_back();
  plan.name = schema.name();
  if (!schema.overload_name().empty()) {
    plan.name += "." + schema.overload_name();
  }
  plan.arguments = schema.arguments().size();
  plan.returns = schema.returns().size();
  for (size_t i = 0; i < plan.arguments; ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    plan.has_out |= argument.is_out();
    if (argument.alias_info() != nullptr && argument.alias_info()->isWrite()) {
      plan.writes.push_back(i);
    }
    const std::string type = argument.type()->str();
    if (type == "Generator" || type == "Generator?") {
      plan.generator_at = static_cast<int>(i);
    }
  }
  plan.hidden_dice = plan.generator_at < 0 && op.hasTag(at::Tag::nondeterministic_seeded);
  plan.mixes = mixes_devices(plan.name);
  plan.product = product_of(plan.name);
  plan.waits = host_waits_for(plan.name);
  plan.bool_index = plan.name.rfind("aten::index", 0) == 0 || plan.name.rfind("aten::_index_put_impl_", 0) == 0;
  if (plan.name == "aten::native_batch_norm") {
    plan.writes = {3, 4};  // running mean and variance: its schema doesn't say so
  }
  return plan;
}

Plan& plan_of(const OperatorHandle& op) {
  static thread_local ska::flat_hash_map<const c10::FunctionSchema*, Plan*> known;
  Plan*& plan = known[&op.schema()];
  if (plan == nullptr) {
    plan = &make_plan(op);
  }
  return *plan;
}

void refuse_mixed(const Plan& plan, c10::Device one, c10::Device other) {
  TORCH_CHECK(
      false, "Expected all tensors to be on the same device, but found at least two devices, ", one, " and ", other,
      "! (when checking the arguments of ", plan.name, ")");
}

void check_one_device(const Plan& plan, const Tensor& tensor, std::optional<c10::Device>& card, bool& host_too) {
  if (!tensor.defined()) {
    return;
  }
  if (!tensor.is_cuda()) {
    host_too |= tensor.is_cpu() && tensor.dim() > 0;
  } else if (!card) {
    card = tensor.device();
  } else if (*card != tensor.device() && !plan.mixes) {
    refuse_mixed(plan, *card, tensor.device());
  }
  if (card && host_too && !plan.mixes) {
    refuse_mixed(plan, *card, c10::Device(c10::kCPU));
  }
}

// Before an operator runs that is captured: what isn't allowed, and what it will write to.
void before_captured(Recording* recording, const Plan& plan, const Stack* stack, size_t base) {
  bool waits = plan.waits;
  if (plan.bool_index) {  // writing one number where a mask is true needs no wait
    const bool fills = plan.name.find("index_put") != std::string::npos && (*stack)[base + 2].toTensor().numel() == 1;
    for (const IValue& index : (*stack)[base + 1].isList() ? (*stack)[base + 1].toListRef() : c10::ArrayRef<IValue>()) {
      const bool mask = index.isTensor() && index.toTensor().defined() &&
          (index.toTensor().scalar_type() == at::kBool || index.toTensor().scalar_type() == at::kByte);
      waits |= mask && !fills;
    }
  }
  if (waits) {
    refuse_here(recording, plan.name);
  }
  for (size_t i : plan.writes) {
    record_write(recording, (*stack)[base + i]);
  }
}

// The boxed fallback: an operator's arguments cross to the host, its CPU kernel runs, its results cross back.
template <DispatchKey key>
void run_on_host_as(const OperatorHandle& op, Stack* stack) {
  Plan& plan = plan_of(op);
  plan.calls.fetch_add(1, std::memory_order_relaxed);
  const size_t base = stack->size() - plan.arguments;
  Crossing crossing;
  crossing.pairs.reserve(4);
  std::optional<c10::Device> card;
  bool host_too = false;
  for (size_t i = base; i < stack->size(); ++i) {
    IValue& value = (*stack)[i];
    if (value.isTensor()) {
      check_one_device(plan, value.toTensor(), card, host_too);
      crossing.enter(value);
    } else if (value.isList()) {
      if (value.isTensorList()) {
        for (const IValue& one : value.toListRef()) {
          TORCH_CHECK(
              !plan.bool_index || card || !one.toTensor().defined() || !one.toTensor().is_cuda(),
              "indices should be either on cpu or on the same device as the indexed tensor (cpu)");
          check_one_device(plan, one.toTensor(), card, host_too);
        }
      }
      crossing.enter(value);
    } else if (value.isDevice() && value.toDevice().is_cuda()) {
      const c10::DeviceIndex index = value.toDevice().index();
      crossing.card = index < 0 ? current_card() : index;
      value = c10::Device(c10::kCPU);
    }
  }
  if (crossing.card < 0) {
    crossing.card = current_card();
  }
  if (plan.generator_at >= 0) {
    IValue& generator = (*stack)[base + plan.generator_at];
    generator = generator.isNone() ? card_generator(crossing.card) : generator.toGenerator();
  }
  Recording* recording = recording_now();
  Stack recorded;
  if (recording != nullptr) {
    if (key != DispatchKey::CPU) {
      refuse_here(recording, plan.name + " on sparse tensors");
    }
    before_captured(recording, plan, stack, base);
    recorded.assign(stack->begin() + base, stack->end());
  }
  if (plan.generator_at >= 0) {
    IValue& generator = (*stack)[base + plan.generator_at];
    generator = host_generator(generator.toGenerator());
  }
  {
    std::optional<BorrowedDice> dice;
    if (plan.hidden_dice) {
      dice.emplace(crossing.card);
    }
    std::optional<at::ScalarType> narrow;
    if (plan.product != Product::none) {
      narrow = widen(plan.product, stack, base);
    }
    op.redispatchBoxed(c10::DispatchKeySet(key), stack);
    if (narrow) {
      round_results(plan.product, stack, plan.returns, *narrow);
    }
  }
  if (recording != nullptr) {
    const Dice dice{plan.generator_at, plan.hidden_dice ? crossing.card : c10::DeviceIndex(-1)};
    const IValue* results = stack->data() + (stack->size() - plan.returns);
    record_call(recording, op, std::move(recorded), results, plan.returns, dice, !plan.writes.empty());
  }
  if (plan.has_out || (key != DispatchKey::CPU && !plan.writes.empty())) {
    for (size_t i = 0; i < crossing.pairs.size(); ++i) {  // following a sparse tensor may add pairs
      const auto [alias, mine] = crossing.pairs[i];
      alias.has_storage() ? follow(alias, mine) : follow_sparse(alias, mine, crossing);
    }
  }
  for (size_t i = stack->size() - plan.returns; i < stack->size(); ++i) {
    crossing.leave((*stack)[i]);
  }
}

void run_on_host(const OperatorHandle& op, Stack* stack) {
  run_on_host_as<DispatchKey::CPU>(op, stack);
}

// ---- tensors are made, shown otherwise and moved

struct OnCard {  // the allocator charges the current card
  explicit OnCard(std::optional<c10::Device> device)
      : guard(c10::Device(c10::kCUDA, device && device->index() >= 0 ? device->index() : current_card())) {}
  c10::DeviceGuard guard;
};

Tensor empty(
    at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device> device,
    std::optional<bool>, std::optional<at::MemoryFormat> format) {
  OnCard on(device);
  return at::detail::empty_generic(
      size, card_allocator(), c10::DispatchKeySet(DispatchKey::CUDA), c10::dtype_or_default(dtype), format);
}

Tensor empty_strided(
    at::IntArrayRef size, at::IntArrayRef stride, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device> device, std::optional<bool>) {
  OnCard on(device);
  return at::detail::empty_strided_generic(
      size, stride, card_allocator(), c10::DispatchKeySet(DispatchKey::CUDA), c10::dtype_or_default(dtype));
}

Tensor& set_empty(Tensor& self) {
  OnCard on(self.device());
  c10::Storage storage(c10::Storage::use_byte_size_t(), 0, card_allocator(), /*resizable=*/true);
  return at::native::set_storage_cpu_(self, std::move(storage), 0, {0}, {});
}

Tensor& set_storage(Tensor& self, at::Storage source) {
  return at::native::set_(self, std::move(source));
}

const Tensor& resize(const Tensor& self, at::IntArrayRef size, std::optional<at::MemoryFormat> format) {
  OnCard on(self.device());
  return at::native::resize_(self, size, format);
}

Tensor& copy(Tensor& self, const Tensor& source, bool non_blocking) {
  Tensor to = self.is_cuda() ? to_host(self) : self;
  const Tensor from = source.is_cuda() ? to_host(source) : source;
  Recording* recording = recording_now();
  if (recording != nullptr) {
    if (self.is_cuda() != source.is_cuda()) {
      const Tensor& host = self.is_cuda() ? source : self;
      if (!is_pinned(host.storage().data())) {
        refuse_here(recording, "a copy between the card and host memory that isn't pinned");
      }
      if (!non_blocking) {
        refuse_here(recording, "a copy between host and card that the host waits for");
      }
    }
    record_write(recording, to);
  }
  to.copy_(from, non_blocking);
  if (recording != nullptr) {
    record_work(recording, [to = to.detach(), from = from.detach()]() mutable { to.copy_(from); });
  }
  return self;
}

void record_stream(Tensor&, c10::Stream) {}

// A gradient that is known to be zero has a shape and no bytes; what would read them goes another way.
Tensor zeros_without_bytes(
    at::IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>, std::optional<at::Device> device,
    std::optional<bool>) {
  struct Nothing final : c10::Allocator {
    c10::DataPtr allocate(size_t) override {
      return {nullptr, nullptr, [](void*) {}, c10::Device(c10::kCUDA, current_card())};
    }
    void copy_data(void*, const void*, size_t) const override {}
  };
  static Nothing nothing;
  OnCard on(device);
  return at::detail::empty_generic(
      size, &nothing, c10::DispatchKeySet({DispatchKey::CUDA, DispatchKey::ZeroTensor}), c10::dtype_or_default(dtype),
      std::nullopt);
}

// What scripts call cuDNN by: (input, weight, padding, [output_padding,] stride, dilation, groups, ...) -> result
template <bool transposed>
void cudnn_convolution(const OperatorHandle& op, Stack* stack) {
  const size_t base = stack->size() - op.schema().arguments().size();
  const auto given = [&](size_t i) { return (*stack)[base + i + (transposed && i > 2 ? 1 : 0)]; };
  const IValue no_output_padding(std::vector<int64_t>(given(2).toIntVector().size(), 0));
  Stack plain{given(0), given(1), IValue(), given(3), given(2), given(4), IValue(transposed),
              transposed ? (*stack)[base + 3] : no_output_padding, given(5)};
  c10::Dispatcher::singleton().findSchemaOrThrow("aten::convolution", "").callBoxed(&plain);
  torch::jit::drop(*stack, op.schema().arguments().size());
  torch::jit::push(*stack, std::move(plain.back()));
}

// Until torch 2.6 these two went by the device that pins, and to CUDA's own runtime.
Tensor pin(const Tensor& self, std::optional<at::Device>) {
  const size_t bytes = at::detail::computeStorageNbytes(self.sizes(), self.strides(), self.dtype().itemsize());
  c10::Storage storage(c10::Storage::use_byte_size_t(), bytes, pinned_allocator(), /*resizable=*/false);
  Tensor pinned = at::empty({0}, self.options());
  pinned.set_(std::move(storage), 0, self.sizes(), self.strides());
  return pinned.copy_(self);
}

bool answers_is_pinned(const Tensor& self, std::optional<at::Device>) {
  return self.is_cpu() && is_pinned(self.storage().data());
}

void answer_no(const OperatorHandle& op, Stack* stack) {
  torch::jit::drop(*stack, op.schema().arguments().size());
  torch::jit::push(*stack, false);
}

// ---- attention: the same operators as for host tensors, so that autograd records them and the fallback runs them

Tensor mask_as_numbers(const Tensor& mask, const Tensor& query) {
  if (mask.scalar_type() != at::kBool) {
    return mask;
  }
  return at::zeros_like(mask, query.options().dtype(query.dtype()))
      .masked_fill(mask.logical_not(), -std::numeric_limits<double>::infinity());
}

#if FOREBAY_TORCH_AT_LEAST(2, 5)
#define FOREBAY_GQA_PARAMETER , bool enable_gqa
#define FOREBAY_GQA_ARGUMENT , enable_gqa
#else
#define FOREBAY_GQA_PARAMETER
#define FOREBAY_GQA_ARGUMENT
#endif

// A compiler's tensor, which has a shape and no bytes: the host can't be asked which kernel it would choose.
bool is_traced(const Tensor& tensor) {
  return tensor.key_set().has(DispatchKey::Python) || !tensor.has_storage();
}

// What the host's flash kernel takes, as at::native's use_flash_attention_cpp has it.
bool flash_would_fit(
    const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask, double dropout) {
  return dropout == 0.0 && query.dim() == 4 && key.dim() == 4 && value.dim() == 4 && query.is_floating_point() &&
      query.sym_size(1) == key.sym_size(1) && key.sym_size(1) == value.sym_size(1) &&
      query.sym_size(3) == value.sym_size(3) && query.scalar_type() == key.scalar_type() &&
      (!mask || mask->dim() == 2 || mask->dim() == 4);
}

Tensor attention(
    const Tensor& query, const Tensor& key, const Tensor& value, const std::optional<Tensor>& mask, double dropout,
    bool causal, std::optional<double> scale FOREBAY_GQA_PARAMETER) {
  constexpr int64_t flash = 1;  // sdp::SDPBackend::flash_attention, whose header isn't installed everywhere
  std::optional<Tensor> numbers;
  if (mask && mask->defined()) {
    numbers = mask_as_numbers(*mask, query);
  }
  bool chosen = false;
  if (is_traced(query)) {
    chosen = flash_would_fit(query, key, value, numbers, dropout);
  } else {
    const std::optional<Tensor> host_mask = numbers ? std::make_optional(to_host(numbers->detach())) : std::nullopt;
    chosen = at::_fused_sdp_choice(
                 to_host(query.detach()), to_host(key.detach()), to_host(value.detach()), host_mask, dropout, causal,
                 scale FOREBAY_GQA_ARGUMENT) == flash;
  }
  if (chosen && !(numbers && numbers->requires_grad())) {
    return std::get<0>(
        at::_scaled_dot_product_flash_attention_for_cpu(query, key, value, dropout, causal, numbers, scale));
  }
  return std::get<0>(at::_scaled_dot_product_attention_math(
      query, key, value, numbers, dropout, causal, std::nullopt, scale FOREBAY_GQA_ARGUMENT));
}

// ---- softmax whose result is wider than its input exists on CUDA only

void widening_softmax(const OperatorHandle& op, Stack* stack) {  // (input, dim, half_to_float) -> result
  const size_t base = stack->size() - 3;
  if ((*stack)[base + 2].toBool()) {
    (*stack)[base] = (*stack)[base].toTensor().to(at::kFloat);
    (*stack)[base + 2] = false;
  }
  run_on_host(op, stack);
}

void narrowing_softmax_backward(const OperatorHandle& op, Stack* stack) {  // (grad, output, dim, input_dtype) -> result
  const size_t base = stack->size() - 4;
  const auto wanted = (*stack)[base + 3].toScalarType();
  (*stack)[base + 3] = (*stack)[base].toTensor().scalar_type();
  run_on_host(op, stack);
  stack->back() = stack->back().toTensor().to(wanted);
}

// ---- matmul whose result is wider than its inputs exists on CUDA only

void widening_matmul(const OperatorHandle& op, Stack* stack) {  // (tensors..., out_dtype, ..., [out]) -> result
  const c10::FunctionSchema& schema = op.schema();
  const size_t base = stack->size() - schema.arguments().size();
  const size_t at = *schema.argumentIndexWithName("out_dtype");
  const auto wanted = (*stack)[base + at].toScalarType();
  std::optional<Tensor> out;
  Stack plain;
  for (size_t i = 0; i < schema.arguments().size(); ++i) {
    IValue value = (*stack)[base + i];
    if (schema.arguments()[i].is_out()) {
      out = value.toTensor();
    } else if (i != at) {
      plain.push_back(value.isTensor() ? IValue(value.toTensor().to(wanted)) : std::move(value));
    }
  }
  c10::Dispatcher::singleton().findSchemaOrThrow(schema.name().c_str(), "").callBoxed(&plain);
  Tensor result = plain.back().toTensor();
  if (out) {
    out->resize_(result.sizes());
    out->copy_(result);
    result = *out;
  }
  torch::jit::drop(*stack, schema.arguments().size());
  torch::jit::push(*stack, std::move(result));
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

// What has a kernel for the host's sparse tensors goes to it; a CUDA build's own kernels are covered.
template <DispatchKey host, DispatchKey card>
void carry_sparse(torch::Library& library) {
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& op : dispatcher.getAllOpNames()) {
    const auto schema = dispatcher.findSchema(op);
    if (op.name.rfind("aten::", 0) == 0 && (schema->hasKernelForDispatchKey(host) || schema->hasKernelForDispatchKey(card))) {
      const std::string name = op.name.substr(6) + (op.overload_name.empty() ? "" : "." + op.overload_name);
      library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&run_on_host_as<host>>());
    }
  }
}

TORCH_LIBRARY_IMPL(_, SparseCUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host_as<DispatchKey::SparseCPU>>());
}

TORCH_LIBRARY_IMPL(_, SparseCsrCUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host_as<DispatchKey::SparseCsrCPU>>());
}

TORCH_LIBRARY_IMPL(aten, SparseCUDA, library) {
  carry_sparse<DispatchKey::SparseCPU, DispatchKey::SparseCUDA>(library);
}

TORCH_LIBRARY_IMPL(aten, SparseCsrCUDA, library) {
  carry_sparse<DispatchKey::SparseCsrCPU, DispatchKey::SparseCsrCUDA>(library);
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  std::unordered_set<std::string> named;
  auto impl = [&](const std::string& name, auto&& kernel) {
    named.insert(name);
    library.impl(name.c_str(), std::forward<decltype(kernel)>(kernel));
  };
  impl("empty.memory_format", TORCH_FN(empty));
  impl("empty_strided", TORCH_FN(empty_strided));
  impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  impl("view", TORCH_FN(at::native::view));
  impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  impl("unfold", TORCH_FN(at::native::unfold));
  impl("set_", TORCH_FN(set_empty));
  impl("set_.source_Storage", TORCH_FN(set_storage));
  impl("set_.source_Storage_storage_offset", TORCH_FN(at::native::set_storage_cpu_));
  impl("set_.source_Tensor", TORCH_FN(at::native::set_tensor_));
  impl("resize_", TORCH_FN(resize));
  impl("copy_", TORCH_FN(copy));
  impl("record_stream", TORCH_FN(record_stream));
  impl("_efficientzerotensor", TORCH_FN(zeros_without_bytes));
  impl("cudnn_convolution", torch::CppFunction::makeFromBoxedFunction<&cudnn_convolution<false>>());
  impl("cudnn_convolution_transpose", torch::CppFunction::makeFromBoxedFunction<&cudnn_convolution<true>>());

  const auto pinning = c10::Dispatcher::singleton().findSchema({"aten::_pin_memory", ""});
  if (pinning && pinning->hasKernelForDispatchKey(DispatchKey::BackendSelect)) {
    impl("_pin_memory", TORCH_FN(pin));
    impl("is_pinned", TORCH_FN(answers_is_pinned));
  }

  impl("scaled_dot_product_attention", TORCH_FN(attention));
  for (const std::string name : {"_softmax", "_log_softmax"}) {
    impl(name, torch::CppFunction::makeFromBoxedFunction<&widening_softmax>());
    impl(name + "_backward_data", torch::CppFunction::makeFromBoxedFunction<&narrowing_softmax_backward>());
  }
  each_batch_norm_step(impl);
  for (const char* name : {"mm.dtype", "mm.dtype_out", "bmm.dtype", "bmm.dtype_out", "addmm.dtype", "addmm.dtype_out",
                           "baddbmm.dtype", "baddbmm.dtype_out"}) {
    const std::string full(name);
    const size_t dot = full.find('.');
    if (c10::Dispatcher::singleton().findSchema({"aten::" + full.substr(0, dot), full.substr(dot + 1)})) {
      impl(full, torch::CppFunction::makeFromBoxedFunction<&widening_matmul>());
    }
  }

  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& op : dispatcher.getAllOpNames()) {
    if (op.name.rfind("aten::", 0) != 0) {
      continue;
    }
    std::string name = op.name.substr(6);
    const bool which_ctc = name.rfind("_use_cudnn_ctc", 0) == 0 || name.rfind("_use_miopen_ctc", 0) == 0;
    // torch's kernels for any device that look into tables of kernels by device, which have no entry for ours
    const bool whole = name == "convolution" || name == "convolution_backward" || name == "mode" || name.rfind("_foreach_", 0) == 0;
    name += op.overload_name.empty() ? "" : "." + op.overload_name;
    if (named.count(name) != 0) {
      continue;
    }
    // What has a CPU kernel goes to it at once. For many operators torch has a kernel for any device too, which makes the
    // result first and then calls the out= form: two calls for one. What has a CUDA kernel is in a CUDA build: ours, the
    // newer, covers it.
    if (which_ctc) {
      library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&answer_no>());
    } else if (
        whole || dispatcher.findSchema(op)->hasKernelForDispatchKey(DispatchKey::CPU) ||
        dispatcher.findSchema(op)->hasKernelForDispatchKey(DispatchKey::CUDA)) {
      library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
    }
  }
}

TORCH_LIBRARY_IMPL(aten, AutogradCUDA, library) {
  library.impl("scaled_dot_product_attention", TORCH_FN(attention));
}

}  // namespace

void count_call(const OperatorHandle& op) {
  plan_of(op).calls.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace forebay

extern "C" {

// Operators carried so far, one "name calls" a line. Returns the bytes needed; writes at most `size` of them.
int64_t forebay_operators(char* text, int64_t size) {
  std::string lines;
  std::lock_guard<std::mutex> lock(forebay::plans_mutex);
  for (const auto& plan : forebay::plans) {
    lines += plan.name + " " + std::to_string(plan.calls.load()) + "\n";
  }
  std::memcpy(text, lines.data(), std::min<size_t>(lines.size(), size));
  return static_cast<int64_t>(lines.size());
}

}  // extern "C"
