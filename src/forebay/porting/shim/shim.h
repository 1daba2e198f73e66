// The simulated cuda device: what its source files share.
//
// Asked:  how can a tensor say that it lives on "cuda" where there is no GPU?
// Answer: its storage is tagged cuda, and its bytes are those of an ordinary host storage that it owns. An operator that
//         reaches the CUDA dispatch key gets host tensors over the same bytes, runs torch's own CPU kernel, and its results
//         are tagged cuda again. No byte is copied.
//         In a CUDA build, too: this library is loaded after libtorch_cuda and takes its place at every door that torch has.
// Limits: strided and sparse tensors (no quantised or nested ones). Everything is done when the call returns, so streams
//         keep their order by nature.
//
// memory.cpp       bytes: what a card holds, its limit, pinned host memory
// device.cpp       the card: guard, streams, events, random numbers, hooks
// operators.cpp    operators: the fallback, and the few that need more than it
// layers.cpp       recurrent layers, whole
// sparse.cpp       sparse tensors cross too: by the strided ones they consist of
// graphs.cpp       CUDA graphs: what is done while a stream captures is recorded, and done again at each replay
// batch_norm.cpp   the steps of batch norm over several cards, which torch has for CUDA only
// wide.cpp         products of 16-bit numbers, where the processor has no instructions for them
// collectives.cpp  torch.distributed: c10d operators on cuda tensors, carried by the group's CPU backend
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/Allocator.h>
#include <c10/core/Storage.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace torch {
class CppFunction;
}

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
int64_t current_stream(c10::DeviceIndex card);
const at::Generator& card_generator(c10::DeviceIndex card);
at::Generator host_generator(const at::Generator& of_card);  // ready for one operator; the card's moves on

// While it lives, the host's default generator continues the card's random numbers: for operators that take no generator.
class BorrowedDice {
 public:
  explicit BorrowedDice(c10::DeviceIndex card);
  ~BorrowedDice();
  BorrowedDice(const BorrowedDice&) = delete;
  BorrowedDice& operator=(const BorrowedDice&) = delete;

 private:
  void swap();
  at::Generator generator_;  // the host's, behind the card's
};

// ---- graphs.cpp
class Recording;                          // one capture
extern std::atomic<Recording*> underway;  // null but while a capture is underway in this process
Recording* recording_here();

// The capture that this thread's current stream takes part in, or null.
inline Recording* recording_now() {
  return underway.load(std::memory_order_relaxed) == nullptr ? nullptr : recording_here();
}

void record_made(const c10::Storage& host);                             // a card's storage that came while capturing
void record_write(Recording* recording, const c10::IValue& on_host);    // before these host tensors are written to
void record_work(Recording* recording, std::function<void()> again);    // what a replay does again

struct Dice {                     // where an operator's random numbers come from
  int generator_at;               // the place of the card's generator among its arguments, or -1
  c10::DeviceIndex hidden_card;   // the card whose default generator it takes without an argument, or -1
};

// The same for an operator that has just run on the host.
void record_call(
    Recording* recording, const c10::OperatorHandle& op, torch::jit::Stack arguments, const c10::IValue* results, size_t count,
    Dice dice, bool writes);
[[noreturn]] void refuse_here(Recording* recording, const std::string& what);

// For streams and events: which capture a stream takes part in (0 for none), waiting for an event of it, what no capture allows.
int64_t capture_of(c10::DeviceIndex card, int64_t stream);
void join_capture(int64_t capture, c10::DeviceIndex card, int64_t stream);
void refuse_in_capture(c10::DeviceIndex card, int64_t stream, const char* what);

// ---- operators.cpp
// The cuda tensors of one call beside their host aliases.
struct Crossing {
  std::vector<std::pair<at::Tensor, at::Tensor>> pairs;  // (on the host, on the card)
  c10::DeviceIndex card = -1;

  void enter(c10::IValue& value);  // every cuda tensor in it, also in lists of lists, becomes its host alias
  void leave(c10::IValue& value);  // and back: the original where there is one, else a new cuda tensor
};

void count_call(const c10::OperatorHandle& op);  // for the report

// ---- sparse.cpp
at::Tensor sparse_to_host(const at::Tensor& on_card, Crossing& crossing);
at::Tensor sparse_to_card(const at::Tensor& on_host, Crossing& crossing);
void follow_sparse(const at::Tensor& alias, const at::Tensor& on_card, Crossing& crossing);

// ---- batch_norm.cpp
// Hands each operator's name and kernel to `to`, which registers it.
void each_batch_norm_step(const std::function<void(const std::string&, torch::CppFunction)>& to);

// ---- wide.cpp
enum class Product { none, plain, attention, attention_backward };
Product product_of(const std::string& name);

// Make a call's 16-bit arguments 32 bits wide, where that pays; returns the type they had. Then round what came of it.
std::optional<at::ScalarType> widen(Product product, torch::jit::Stack* stack, size_t base);
void round_results(Product product, torch::jit::Stack* stack, size_t returns, at::ScalarType narrow);

}  // namespace forebay
