// The two sides of a tensor, for Python.
//
// Asked:  how does code that Inductor compiled for the host get at the bytes of cuda tensors?
// Answer: two operators: host_alias gives a host tensor over the bytes of a cuda tensor, card_alias a cuda tensor over those of a
//         host tensor. Nothing is copied.
// Limits: they are for forebay.porting.shim.compiled: an alias outside of it would let a script mix host and card.
#include "shim.h"

#include <torch/library.h>

namespace {

at::Tensor host_alias(const at::Tensor& on_card) {
  return forebay::to_host(on_card);
}

at::Tensor card_alias(const at::Tensor& on_host, int64_t card) {
  return forebay::to_card(on_host, static_cast<c10::DeviceIndex>(card));
}

TORCH_LIBRARY(forebay_shim, library) {
  library.def("host_alias(Tensor on_card) -> Tensor", torch::dispatch(c10::DispatchKey::CUDA, TORCH_FN(host_alias)));
  library.def("card_alias(Tensor on_host, int card) -> Tensor", torch::dispatch(c10::DispatchKey::CPU, TORCH_FN(card_alias)));
}

}  // namespace
