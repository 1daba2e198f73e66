// Sparse tensors on the simulated cards.
//
// Asked:  how does a sparse tensor cross to the host and back?
// Answer: it consists of strided ones: indices and values. Those cross as all others, and a sparse tensor of the other device is
//         put together from them. An operator that changes a sparse tensor in place changes the host's one; the card's follows it.
// Limits: not while a graph is captured. What the CPU has no sparse kernel for fails with torch's own words.
#include "shim.h"

#include <ATen/SparseCsrTensorImpl.h>
#include <ATen/SparseTensorImpl.h>

namespace forebay {
namespace {

using at::Tensor;

at::SparseTensorImpl* coo(const Tensor& tensor) {
  return static_cast<at::SparseTensorImpl*>(tensor.unsafeGetTensorImpl());
}

at::SparseCsrTensorImpl* compressed(const Tensor& tensor) {
  return static_cast<at::SparseCsrTensorImpl*>(tensor.unsafeGetTensorImpl());
}

template <class Cross>
void fill(const Tensor& to, const Tensor& from, Cross cross) {
  if (from.layout() == c10::kSparse) {
    at::SparseTensorImpl* source = coo(from);
    const Tensor indices = cross(source->indices());
    const Tensor values = cross(source->values());
    coo(to)->raw_resize_(source->sparse_dim(), source->dense_dim(), source->sizes());
    coo(to)->set_indices_and_values_unsafe(indices, values);
    coo(to)->set_coalesced(source->coalesced());
  } else {
    at::SparseCsrTensorImpl* source = compressed(from);
    compressed(to)->set_member_tensors(
        cross(source->compressed_indices()), cross(source->plain_indices()), cross(source->values()), source->sizes());
  }
}

Tensor made_like(const Tensor& tensor, c10::Device device) {
  const bool card = device.is_cuda();
  if (tensor.layout() == c10::kSparse) {
    const auto key = card ? c10::DispatchKey::SparseCUDA : c10::DispatchKey::SparseCPU;
    return at::detail::make_tensor<at::SparseTensorImpl>(c10::DispatchKeySet(key), tensor.dtype());
  }
  const auto key = card ? c10::DispatchKey::SparseCsrCUDA : c10::DispatchKey::SparseCsrCPU;
  return at::detail::make_tensor<at::SparseCsrTensorImpl>(c10::DispatchKeySet(key), device, tensor.layout(), tensor.dtype());
}

void check_layout(const Tensor& tensor) {
  const auto layout = tensor.layout();
  TORCH_CHECK(
      layout == c10::kSparse || layout == c10::kSparseCsr || layout == c10::kSparseCsc || layout == c10::kSparseBsr ||
          layout == c10::kSparseBsc,
      "the simulated cuda device carries strided and sparse tensors only; this operator met a ", tensor.toString());
}

}  // namespace

Tensor sparse_to_host(const Tensor& on_card, Crossing& crossing) {
  check_layout(on_card);
  Tensor made = made_like(on_card, c10::Device(c10::kCPU));
  fill(made, on_card, [&](const Tensor& part) {
    c10::IValue value(part);
    crossing.enter(value);
    return value.toTensor();
  });
  return made;
}

Tensor sparse_to_card(const Tensor& on_host, Crossing& crossing) {
  check_layout(on_host);
  c10::DeviceGuard guard(c10::Device(c10::kCUDA, crossing.card));
  Tensor made = made_like(on_host, c10::Device(c10::kCUDA, crossing.card));
  follow_sparse(on_host, made, crossing);
  return made;
}

void follow_sparse(const Tensor& alias, const Tensor& on_card, Crossing& crossing) {
  fill(on_card, alias, [&](const Tensor& part) {
    c10::IValue value(part);
    crossing.leave(value);
    return value.toTensor();
  });
}

}  // namespace forebay
