// Collectives on cuda tensors.
//
// Asked:  what happens when a process group named nccl, which has only a CPU backend here, gets cuda tensors?
// Answer: each c10d operator takes their host aliases to the group's CPU backend (gloo) and gives the cuda tensors back. The
//         work that it returns answers with cuda tensors too, which DistributedDataParallel's hooks look at.
// Limits: what gloo can't do is done from what it can: AVG and PREMUL_SUM multiply first and sum then, as NCCL does; parts of
//         different sizes are gathered by broadcasts; all_to_all of lists and reduce_scatter of lists go by way of others. Other
//         gaps of gloo fail with its own words.
#include "shim.h"

#include <ATen/ATen.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/util/Exception.h>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Types.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>
#include <torch/library.h>

#include <optional>
#include <string>

namespace forebay {
namespace {

using at::Tensor;
using c10::IValue;
using c10::intrusive_ptr;
using c10::OperatorHandle;
using torch::jit::Stack;

// The work of the CPU backend; where it names tensors, they are the cuda ones.
class CardWork final : public c10d::Work {
 public:
  CardWork(intrusive_ptr<c10d::Work> inner, Crossing crossing) : inner_(std::move(inner)), crossing_(std::move(crossing)) {}

  bool isCompleted() override {
    return inner_->isCompleted();
  }
  bool isSuccess() const override {
    return inner_->isSuccess();
  }
  std::exception_ptr exception() const override {
    return inner_->exception();
  }
  int sourceRank() const override {
    return inner_->sourceRank();
  }
  void synchronize() override {
    inner_->synchronize();
  }
  void abort() override {
    inner_->abort();
  }
  bool wait(std::chrono::milliseconds timeout) override {
    return inner_->wait(timeout);
  }
  std::vector<Tensor> result() override {
    IValue tensors(inner_->result());
    Crossing(crossing_).leave(tensors);
    return tensors.toTensorVector();
  }
  intrusive_ptr<c10::ivalue::Future> getFuture() override {
    return inner_->getFuture()->then(
        [crossing = crossing_](c10::ivalue::Future& done) {
          IValue value = done.value();
          Crossing(crossing).leave(value);
          return value;
        },
        c10::ListType::ofTensors());
  }

 private:
  intrusive_ptr<c10d::Work> inner_;
  Crossing crossing_;
};

void redispatch(const OperatorHandle& op, Stack* stack) {
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
}

int place_of(const OperatorHandle& op, const char* argument) {
  const auto index = op.schema().argumentIndexWithName(argument);
  return index ? *index : -1;
}

template <class Do>
void each_tensor(const IValue& value, Do act) {
  if (value.isTensor()) {
    act(value.toTensor());
  } else if (value.isList()) {
    for (const IValue& one : value.toListRef()) {
      each_tensor(one, act);
    }
  }
}

// AVG and PREMUL_SUM: multiply, then sum. What will be summed is the first argument of all_reduce and reduce (in place, as they
// are), and a copy of the inputs of reduce_scatter. Whole numbers can't be divided first: they are summed, then divided.
struct Scaled {
  bool asked = false;
  at::Scalar factor = 1.0;
  int64_t divide_after = 1;

  Scaled(const OperatorHandle& op, Stack* stack, size_t base) {
    const int at = place_of(op, "reduce_op");
    if (at < 0) {
      return;
    }
    auto reduce = (*stack)[base + at].toCustomClass<c10d::ReduceOp>();
    const bool average = reduce->op_ == c10d::ReduceOp::AVG;
    if (!average && reduce->op_ != c10d::ReduceOp::PREMUL_SUM) {
      return;
    }
    asked = true;
    (*stack)[base + at] = c10::make_intrusive<c10d::ReduceOp>(c10d::ReduceOp::SUM);
    const int64_t ranks = (*stack)[base + place_of(op, "process_group")].toCustomClass<c10d::ProcessGroup>()->getSize();
    const bool scatters = op.schema().name().find("reduce_scatter") != std::string::npos;
    IValue& summed = (*stack)[base + (scatters ? 1 : 0)];
    if (average) {
      bool whole_numbers = false;
      each_tensor(summed, [&](const Tensor& t) { whole_numbers |= c10::isIntegralType(t.scalar_type(), true); });
      if (whole_numbers) {
        divide_after = ranks;
        return;
      }
      factor = 1.0 / static_cast<double>(ranks);
    } else {
      const auto* given = dynamic_cast<c10d::NCCLPreMulSumSupplement*>(reduce->supplement_.get());
      TORCH_CHECK(given != nullptr, "a PREMUL_SUM without its factor");
      factor = given->tensor_factor.defined() ? given->tensor_factor.item() : at::Scalar(given->double_factor);
    }
    if (scatters) {
      summed = scaled_copy(summed);
    } else {
      each_tensor(summed, [&](const Tensor& t) { t.mul_(factor); });
    }
  }

  IValue scaled_copy(const IValue& value) const {
    if (value.isTensor()) {
      return value.toTensor().mul(factor);
    }
    c10::impl::GenericList copy(value.toList().elementType());
    for (const IValue& one : value.toListRef()) {
      copy.push_back(scaled_copy(one));
    }
    return copy;
  }
};

// Gathers of one tensor write into an output of any shape, as NCCL's do: gloo gets both in a row.
struct InARow {
  Stack* stack;
  size_t base;
  std::optional<Tensor> output;

  InARow(const OperatorHandle& op, Stack* stack, size_t base) : stack(stack), base(base) {
    if (op.schema().name() != "c10d::_allgather_base_") {
      return;
    }
    const Tensor whole = (*stack)[base].toTensor();
    if (whole.is_contiguous()) {
      output = whole;
      (*stack)[base] = whole.view(-1);
      (*stack)[base + 1] = (*stack)[base + 1].toTensor().contiguous().view(-1);
    }
  }
  void restore(IValue& result) const {
    if (output && result.isTensor()) {
      result = *output;
    }
  }
};

bool uneven(const OperatorHandle& op, const IValue& outputs) {
  if (op.schema().name() != "c10d::allgather_") {
    return false;
  }
  std::optional<int64_t> size;
  bool differ = false;
  each_tensor(outputs, [&](const Tensor& t) {
    differ |= size && *size != t.numel();
    size = t.numel();
  });
  return differ;
}

// Parts of different sizes are gathered by a broadcast from each rank, as ProcessGroupNCCL does. All ranks see the same sizes.
intrusive_ptr<c10d::Work> gather_uneven(const IValue& outputs, const IValue& inputs, c10d::ProcessGroup& group) {
  auto backend = group.getBackend(c10::kCPU);
  std::vector<Tensor> parts;
  each_tensor(outputs, [&](const Tensor& t) { parts.push_back(t); });
  each_tensor(inputs, [&](const Tensor& t) { parts.at(group.getRank()).copy_(t); });
  intrusive_ptr<c10d::Work> last;
  for (size_t rank = 0; rank < parts.size(); ++rank) {
    std::vector<Tensor> part{parts[rank]};
    c10d::BroadcastOptions options;
    options.rootRank = static_cast<int64_t>(rank);
    last = backend->broadcast(part, options);
    last->wait();
  }
  return last;
}

void carry(const OperatorHandle& op, Stack* stack) {
  const size_t arguments = op.schema().arguments().size();
  const size_t returns = op.schema().returns().size();
  const size_t base = stack->size() - arguments;
  if (Recording* recording = recording_now()) {
    refuse_here(recording, op.schema().name() + ": collectives aren't recorded here");
  }
  Crossing crossing;
  for (size_t i = base; i < stack->size(); ++i) {
    if ((*stack)[i].isTensor() || (*stack)[i].isList()) {
      crossing.enter((*stack)[i]);
    }
  }
  const Scaled scaled(op, stack, base);
  const InARow row(op, stack, base);
  const IValue results = (*stack)[base];  // every operator with a reduce_op writes to its first argument
  if (uneven(op, results)) {
    auto group = (*stack)[base + place_of(op, "process_group")].toCustomClass<c10d::ProcessGroup>();
    auto work = gather_uneven(results, (*stack)[base + 1], *group);
    torch::jit::drop(*stack, arguments);
    torch::jit::push(*stack, results, IValue(std::move(work)));
  } else {
    redispatch(op, stack);
  }
  row.restore((*stack)[stack->size() - returns]);
  for (size_t i = stack->size() - returns; i < stack->size(); ++i) {
    IValue& value = (*stack)[i];
    if (!value.isCustomClass()) {
      crossing.leave(value);
      continue;
    }
    auto work = value.toCustomClass<c10d::Work>();
    if (work && scaled.asked && scaled.divide_after > 1) {
      work->wait();
      each_tensor(results, [&](const Tensor& t) { t.div_(scaled.divide_after, "trunc"); });
    }
    if (work) {
      value = IValue(intrusive_ptr<c10d::Work>(c10::make_intrusive<CardWork>(std::move(work), crossing)));
    }
  }
}

class CardTimer final : public c10d::Timer {
 public:
  explicit CardTimer(c10::Device) {}
  std::optional<int64_t> measureDifference(Event start, Event end) override {
    const auto from = getTimestamp(start);
    const auto to = getTimestamp(end);
    return from && to && *to >= *from ? std::optional<int64_t>(*to - *from) : std::nullopt;
  }
};

struct Silent final : c10::WarningHandler {
  void process(const c10::Warning&) override {}
};

TORCH_LIBRARY_IMPL(c10d, CUDA, library) {
  Silent silent;  // torch warns that its own kernels for CUDA (which have no backend here) are replaced: that is the purpose
  c10::WarningUtils::WarningHandlerGuard guard(&silent);
  for (const c10::OperatorName& op : c10::Dispatcher::singleton().getAllOpNames()) {
    if (op.name.rfind("c10d::", 0) == 0 && op.name != "c10d::check_for_nan") {
      library.impl(op.name.substr(6).c_str(), torch::CppFunction::makeFromBoxedFunction<&carry>());
    }
  }
}

}  // namespace
}  // namespace forebay

namespace c10d {
C10_REGISTER_TYPED_CLASS_WITH_PRIORITY(TimerRegistry, c10::kCUDA, c10::REGISTRY_PREFERRED, forebay::CardTimer)
}  // namespace c10d
