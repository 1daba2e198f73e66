// Recurrent layers on the simulated cards.
//
// Asked:  how does an LSTM on cuda run at the CPU's own speed, when torch would take it apart for a device that isn't the CPU?
// Answer: LSTM, GRU and RNN, their cells too, are caught whole, above autograd. The host runs the layer on aliases of its tensors
//         and keeps its own autograd record of it; for the card's autograd it is one node. Under autocast its inputs are cast, as
//         CUDA's autocast does for cuDNN's layers.
// Limits: results and gradients are copies, since the host's record keeps the others. Differentiating twice is refused, as by cuDNN.
#include "shim.h"

#include <ATen/Context.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/functions/basic_ops.h>
#include <torch/csrc/autograd/graph_task.h>
#include <torch/library.h>

#include <algorithm>
#include <string>

namespace forebay {
namespace {

using at::Tensor;
using c10::IValue;
using c10::OperatorHandle;
using torch::jit::Stack;

const c10::DispatchKeySet kAutogradKeys = c10::autograd_dispatch_keyset_with_ADInplaceOrView;

#if !FOREBAY_TORCH_AT_LEAST(2, 6)
// torch 2.4's oneDNN has no 16-bit LSTM for every processor, and torch asks it all the same; its own kernels do.
struct PlainKernels {
  const bool before = at::globalContext().userEnabledMkldnn();
  PlainKernels() {
    at::globalContext().setUserEnabledMkldnn(false);
  }
  ~PlainKernels() {
    at::globalContext().setUserEnabledMkldnn(before);
  }
};
#endif

// One call of a recurrent layer. It can be done again, which is what a captured graph asks.
struct Layer final : torch::CustomClassHolder {
  OperatorHandle op;
  Stack arguments;                // host values; tensors are put in their places at each call
  std::vector<Tensor> inputs;     // the tensors among them, on the host
  std::vector<bool> requires_grad;
  c10::DeviceIndex card = 0;
  std::vector<Tensor> leaves;     // of the host's autograd record: the inputs once more
  std::vector<Tensor> outputs;

  explicit Layer(const OperatorHandle& of) : op(of) {}

  std::vector<Tensor> forward(bool with_record) {
    leaves.clear();
    for (size_t i = 0; i < inputs.size(); ++i) {
      leaves.push_back(inputs[i].detach().requires_grad_(with_record && requires_grad[i]));
    }
    size_t next = 0;
    auto fill = [&](IValue value) {
      if (value.isTensor() && value.toTensor().defined()) {
        return IValue(leaves[next++]);
      }
      if (value.isTensorList()) {
        std::vector<Tensor> tensors = value.toTensorVector();
        std::generate(tensors.begin(), tensors.end(), [&] { return leaves[next++]; });
        return IValue(std::move(tensors));
      }
      return value;
    };
    Stack stack;
    for (const IValue& value : arguments) {
      stack.push_back(fill(value));
    }
    {
      c10::AutoGradMode record(with_record);
      const auto local = c10::impl::tls_local_dispatch_key_set();  // a replay is below autograd: let the host's in
      c10::impl::ForceDispatchKeyGuard guard(local.included_, local.excluded_ - kAutogradKeys);
      BorrowedDice dice(card);  // for dropout between layers
#if !FOREBAY_TORCH_AT_LEAST(2, 6)
      PlainKernels plain;
#endif
      op.callBoxed(&stack);
    }
    outputs.clear();
    std::vector<Tensor> results;
    for (const IValue& value : stack) {
      outputs.push_back(value.toTensor());
      results.push_back(value.toTensor().detach());
    }
    return results;
  }

  std::vector<Tensor> backward(const std::vector<Tensor>& cotangents, bool keep) {
    std::vector<Tensor> results, into, from;
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (cotangents[i].defined() && outputs[i].requires_grad()) {
        results.push_back(outputs[i]);
        into.push_back(cotangents[i]);
      }
    }
    std::copy_if(leaves.begin(), leaves.end(), std::back_inserter(from), [](const Tensor& leaf) { return leaf.requires_grad(); });
    const auto local = c10::impl::tls_local_dispatch_key_set();
    c10::impl::ForceDispatchKeyGuard guard(local.included_, local.excluded_ - kAutogradKeys);
    std::vector<Tensor> found = results.empty()
        ? std::vector<Tensor>(from.size())
        : torch::autograd::grad(results, from, into, keep, /*create_graph=*/false, /*allow_unused=*/true);
    if (!keep) {
      outputs.clear();
    }
    std::vector<Tensor> gradients;
    size_t next = 0;
    for (const Tensor& leaf : leaves) {
      gradients.push_back(leaf.requires_grad() ? found[next++] : Tensor());
    }
    return gradients;
  }
};

// The results as a card's, in memory of their own: the host's autograd record keeps the others.
std::vector<Tensor> copies_on_card(const std::vector<Tensor>& on_host, c10::DeviceIndex card) {
  std::vector<Tensor> copies;
  for (const Tensor& tensor : on_host) {
    copies.push_back(tensor.defined() ? to_card(tensor.clone(), card) : Tensor());
  }
  return copies;
}

// Record work whose results on the host are copied into the bytes of `places`, on the card.
void record_copies(Recording* recording, const std::vector<Tensor>& places, std::function<std::vector<Tensor>()> again) {
  std::vector<Tensor> targets;
  for (const Tensor& place : places) {
    targets.push_back(place.defined() ? to_host(place) : Tensor());
  }
  record_work(recording, [targets = std::move(targets), again = std::move(again)] {
    const std::vector<Tensor> results = again();
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i].defined()) {
        Tensor(targets[i]).copy_(results[i].detach());
      }
    }
  });
}

std::vector<Tensor> run_layer(const c10::intrusive_ptr<Layer>& layer, bool with_record) {
  std::vector<Tensor> results = copies_on_card(layer->forward(with_record), layer->card);
  if (Recording* recording = recording_now()) {
    record_copies(recording, results, [layer, with_record] { return layer->forward(with_record); });
  }
  return results;
}

struct Recurrent : torch::autograd::Function<Recurrent> {
  static torch::autograd::variable_list forward(
      torch::autograd::AutogradContext* context, const c10::intrusive_ptr<Layer>& layer, at::TensorList) {
    context->saved_data["layer"] = IValue::make_capsule(layer);
    return run_layer(layer, true);
  }
  static torch::autograd::variable_list backward(
      torch::autograd::AutogradContext* context, torch::autograd::variable_list cotangents) {
    auto layer = c10::static_intrusive_pointer_cast<Layer>(context->saved_data["layer"].toCapsule());
    TORCH_CHECK(
        !layer->outputs.empty(),
        "Trying to backward through the graph a second time (or directly access saved tensors after they have already been "
        "freed). Specify retain_graph=True if you need to backward through the graph a second time.");
    std::vector<Tensor> on_host;
    for (const Tensor& cotangent : cotangents) {
      on_host.push_back(cotangent.defined() ? to_host(cotangent.detach()) : Tensor());
    }
    const bool keep = torch::autograd::get_current_graph_task_keep_graph();
    std::vector<Tensor> gradients = copies_on_card(layer->backward(on_host, keep), layer->card);
    if (Recording* recording = recording_now()) {
      record_copies(recording, gradients, [layer, on_host, keep] { return layer->backward(on_host, keep); });
    }
    if (at::GradMode::is_enabled()) {  // create_graph: cuDNN's layers can't be differentiated twice either
      auto refuse = std::make_shared<torch::autograd::DelayedError>(
          "the derivative for '_cudnn_rnn_backward' is not implemented. Double backwards is not supported for CuDNN RNNs due to "
          "limitations in the CuDNN API.",
          static_cast<int64_t>(gradients.size()));
      gradients = (*refuse)(std::move(gradients));
    }
    gradients.insert(gradients.begin(), Tensor());  // for the layer
    return gradients;
  }
};

void recurrent(const OperatorHandle& op, Stack* stack) {
  count_call(op);
  const size_t arguments = op.schema().arguments().size();
  const bool cast = at::autocast::is_autocast_enabled(at::kCUDA);
  const auto narrow = cast ? at::autocast::get_autocast_dtype(at::kCUDA) : at::kFloat;
  auto layer = c10::make_intrusive<Layer>(op);
  layer->card = current_card();
  std::vector<Tensor> given;
  auto take = [&](Tensor tensor) {
    if (!tensor.defined()) {
      return;
    }
    if (tensor.is_cuda()) {
      layer->card = tensor.device().index();
      if (cast && tensor.scalar_type() == at::kFloat) {
        tensor = tensor.to(narrow);  // as CUDA's autocast does for cuDNN's recurrent layers
      }
    }
    given.push_back(tensor);
    layer->inputs.push_back(tensor.is_cuda() ? to_host(tensor.detach()) : tensor.detach());
    layer->requires_grad.push_back(at::GradMode::is_enabled() && tensor.requires_grad());
  };
  layer->arguments.assign(stack->end() - arguments, stack->end());
  const Tensor& input = layer->arguments.front().toTensor();
  TORCH_CHECK(
      input.is_cuda(), "Input and parameter tensors are not at the same device, found input tensor at ", input.device(),
      " and others on cuda");
  for (const IValue& value : layer->arguments) {
    if (value.isTensor()) {
      take(value.toTensor());
    } else if (value.isTensorList()) {
      for (const Tensor& tensor : value.toTensorVector()) {
        take(tensor);
      }
    }
  }
  torch::jit::drop(*stack, arguments);
  const bool differentiable = std::find(layer->requires_grad.begin(), layer->requires_grad.end(), true) != layer->requires_grad.end();
  for (Tensor& result : differentiable ? Recurrent::apply(layer, at::TensorList(given)) : run_layer(layer, false)) {
    torch::jit::push(*stack, std::move(result));
  }
}

void catch_layers(torch::Library& library) {
  for (const std::string layer : {"lstm", "gru", "rnn_tanh", "rnn_relu"}) {
    for (const char* form : {".input", ".data", "_cell"}) {
      library.impl((layer + form).c_str(), torch::CppFunction::makeFromBoxedFunction<&recurrent>());
    }
  }
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  catch_layers(library);
}

TORCH_LIBRARY_IMPL(aten, AutogradCUDA, library) {
  catch_layers(library);
}

}  // namespace
}  // namespace forebay
