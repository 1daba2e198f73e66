// The steps of batch norm over several cards (torch.nn.SyncBatchNorm), which torch has for CUDA only.
//
// Asked:  what are the statistics of a card's part, of all parts together, and what do the two directions make of them?
// Answer: the formulas of batch norm (Ioffe and Szegedy 2015, algorithm 1 and section 3), by operators that the host has.
//         Parts may be of different sizes: each counts by its number of values.
// Limits: channels lie in dimension 1; statistics are in fp32 or wider.
#include "shim.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/var_mean.h>
#include <torch/library.h>

#include <optional>
#include <tuple>

namespace forebay {
namespace {

using at::Tensor;

std::vector<int64_t> all_but_channels(const Tensor& input) {
  std::vector<int64_t> dims{0};
  for (int64_t dim = 2; dim < input.dim(); ++dim) {
    dims.push_back(dim);
  }
  return dims;
}

Tensor by_channel(const Tensor& values, const Tensor& input) {
  std::vector<int64_t> shape(input.dim(), 1);
  shape[1] = -1;
  return values.reshape(shape);
}

Tensor widened(const Tensor& input) {
  const bool narrow = input.scalar_type() == at::kHalf || input.scalar_type() == at::kBFloat16;
  return narrow ? input.to(at::kFloat) : input;
}

std::tuple<Tensor, Tensor> norm_stats(const Tensor& input, double eps) {
  const auto dims = all_but_channels(input);
  auto [variance, mean] = at::var_mean(widened(input), dims, /*unbiased=*/false, /*keepdim=*/false);
  return {mean, at::rsqrt(variance + eps)};
}

Tensor norm_elemt(
    const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const Tensor& mean,
    const Tensor& invstd, double eps) {
  Tensor result = (widened(input) - by_channel(mean, input)) * by_channel(invstd, input);
  if (weight && weight->defined()) {
    result = result * by_channel(*weight, input);
  }
  if (bias && bias->defined()) {
    result = result + by_channel(*bias, input);
  }
  return result.to(input.scalar_type());
}

Tensor& norm_elemt_out(
    const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, const Tensor& mean,
    const Tensor& invstd, double eps, Tensor& out) {
  out.resize_(input.sizes());
  return out.copy_(norm_elemt(input, weight, bias, mean, invstd, eps));
}

// mean and invstd have a row for each card, counts an element.
std::tuple<Tensor, Tensor> norm_gather_stats_with_counts(
    const Tensor& input, const Tensor& mean, const Tensor& invstd, const std::optional<Tensor>& running_mean,
    const std::optional<Tensor>& running_var, double momentum, double eps, const Tensor& counts) {
  const Tensor share = counts.to(mean.scalar_type()).reshape({-1, 1});
  const Tensor total = share.sum();
  const Tensor all_mean = (mean * share).sum(0) / total;
  const Tensor each_variance = invstd.pow(-2) - eps;
  const Tensor variance = ((each_variance + (mean - all_mean).square()) * share).sum(0) / total;
  if (running_mean && running_mean->defined()) {
    running_mean->mul_(1 - momentum).add_(all_mean.to(running_mean->scalar_type()), momentum);
  }
  if (running_var && running_var->defined()) {
    const Tensor unbiased = variance * (total / (total - 1));
    running_var->mul_(1 - momentum).add_(unbiased.to(running_var->scalar_type()), momentum);
  }
  return {all_mean, at::rsqrt(variance + eps)};
}

std::tuple<Tensor, Tensor> norm_gather_stats(
    const Tensor& input, const Tensor& mean, const Tensor& invstd, const std::optional<Tensor>& running_mean,
    const std::optional<Tensor>& running_var, double momentum, double eps, int64_t count) {
  const Tensor counts = mean.new_full({mean.size(0)}, count);
  return norm_gather_stats_with_counts(input, mean, invstd, running_mean, running_var, momentum, eps, counts);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> norm_backward_reduce(
    const Tensor& gradient, const Tensor& input, const Tensor& mean, const Tensor& invstd, const std::optional<Tensor>& weight,
    bool wants_input, bool wants_weight, bool wants_bias) {
  const auto dims = all_but_channels(input);
  const Tensor wide = widened(gradient);
  const Tensor sum = wide.sum(dims);
  const Tensor sum_away = (wide * (widened(input) - by_channel(mean, input))).sum(dims);
  const auto type = weight && weight->defined() ? weight->scalar_type() : sum.scalar_type();
  return {
      wants_input ? sum : Tensor(), wants_input ? sum_away : Tensor(), wants_weight ? (sum_away * invstd).to(type) : Tensor(),
      wants_bias ? sum.to(type) : Tensor()};
}

Tensor norm_backward_elemt(
    const Tensor& gradient, const Tensor& input, const Tensor& mean, const Tensor& invstd, const std::optional<Tensor>& weight,
    const Tensor& sum, const Tensor& sum_away, const Tensor& counts) {
  const Tensor total = counts.sum();
  Tensor scale = invstd;
  if (weight && weight->defined()) {
    scale = scale * *weight;
  }
  const Tensor away = (widened(input) - by_channel(mean, input)) * by_channel(invstd.square() * sum_away / total, input);
  const Tensor result = (widened(gradient) - by_channel(sum / total, input) - away) * by_channel(scale, input);
  return result.to(input.scalar_type());
}

}  // namespace

void each_batch_norm_step(const std::function<void(const std::string&, torch::CppFunction)>& to) {
  to("batch_norm_stats", torch::CppFunction(TORCH_FN(norm_stats)));
  to("batch_norm_elemt", torch::CppFunction(TORCH_FN(norm_elemt)));
  to("batch_norm_elemt.out", torch::CppFunction(TORCH_FN(norm_elemt_out)));
  to("batch_norm_gather_stats", torch::CppFunction(TORCH_FN(norm_gather_stats)));
  to("batch_norm_gather_stats_with_counts", torch::CppFunction(TORCH_FN(norm_gather_stats_with_counts)));
  to("batch_norm_backward_reduce", torch::CppFunction(TORCH_FN(norm_backward_reduce)));
  to("batch_norm_backward_elemt", torch::CppFunction(TORCH_FN(norm_backward_elemt)));
}

}  // namespace forebay
