// The simulated cuda device: what its five source files share.
//
// Asked:  how can a tensor say that it lives on "cuda" where there is no GPU?
// Answer: its storage is tagged cuda, and its bytes are those of an ordinary host storage that it owns. An operator that
//         reaches the CUDA dispatch key gets host tensors over the same bytes, runs torch's own CPU kernel, and its results
//         are tagged cuda again. No byte is copied.
//         In a CUDA build, too: this library is loaded after libtorch_cuda and takes its place at every door that torch has.
// Limits: strided tensors only (no sparse, quantised or nested ones). Everything is done when the call returns, so streams
//         keep their order by nature.
//
// memory.cpp       bytes: what a card holds, its limit, pinned host memory
// device.cpp       the card: guard, streams, events, random numbers, hooks
// operators.cpp    operators: the fallback, and the few that need more than it
// wide.cpp         products of 16-bit numbers, where the processor has no instructions for them
// collectives.cpp  torch.distributed: c10d operators on cuda tensors, carried by the group's CPU backend
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// The build passes the version as 100 * major + minor: torch's own header with it has moved about.
#define FOREBAY_TORCH_AT_LEAST(major, minor) (FOREBAY_TORCH >= 100 * (major) + (minor))

namespace forebay {

constexpr int kMostCards = 64;

// ---- memory.cpp
c10::Allocator* card_allocator();
c10::Allocator* pinned_allocator();
bool is_pinned(const void* data);

// A host tensor over the bytes of a cuda tensor, and the other way round.
at::Tensor to_host(const at::Tensor& on_card);
at::Tensor to_card(const at::Tensor& on_host, c10::DeviceIndex card);

// The same shape over the storage of `owner`: how a view that a host kernel made becomes a view of the cuda tensor.
at::Tensor view_on_card(const at::Tensor& host_view, const at::Tensor& owner);

// After a host kernel wrote to `alias` (an out= argument), give `on_card` the shape and the bytes that it has now.
void follow(const at::Tensor& alias, const at::Tensor& on_card);

// ---- device.cpp
c10::DeviceIndex cards();
c10::DeviceIndex current_card();
const at::Generator& card_generator(c10::DeviceIndex card);
at::Generator host_generator(const at::Generator& of_card);

// While it lives, the host's default generator continues the card's random numbers: for operators that take no generator.
class BorrowedDice {
 public:
  explicit BorrowedDice(c10::DeviceIndex card);
  ~BorrowedDice();
  BorrowedDice(const BorrowedDice&) = delete;
  BorrowedDice& operator=(const BorrowedDice&) = delete;

 private:
  void swap();
  c10::DeviceIndex card_;
};

// ---- operators.cpp
// The cuda tensors of one call beside their host aliases.
struct Crossing {
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;  // (on the host, on the card)
  c10::DeviceIndex card = -1;

  void enter(c10::IValue& value);  // every cuda tensor in it, also in lists of lists, becomes its host alias
  void leave(c10::IValue& value);  // and back: the original where there is one, else a new cuda tensor
};

// ---- wide.cpp
enum class Product { none, plain, attention, attention_backward };
Product product_of(const std::string& name);

// Make a call's 16-bit arguments 32 bits wide, where that pays; returns the type they had. Then round what came of it.
std::optional<at::ScalarType> widen(Product product, torch::jit::Stack* stack, size_t base);
void round_results(Product product, torch::jit::Stack* stack, size_t returns, at::ScalarType narrow);

}  // namespace forebay
