// CUDA graphs on the simulated cards: by recording.
//
// Asked:  what does a captured graph replay where there is no queue of kernels?
// Answer: while a stream captures, every piece of work on host tensors that is done for it is also remembered: the operator with
//         its arguments, or a function. A replay does them again, in order, on the same bytes; a result that the operator makes
//         anew is copied to where the first one lies. Random numbers go on from the generator's state at each replay. A stream
//         that waits for an event of a capturing stream captures too, as on a card.
//         A card doesn't run what it captures. Here it runs, to know shapes, and at the end of the capture everything that was
//         there before has its old bytes again, generators too: only results of the capture keep values, where a card's are
//         undefined until the first replay.
// Limits: intermediate results keep their memory as long as the graph lives. One capture at a time in a process, as torch asks.
//         Work that doesn't pass torch's operators isn't seen (a compiled extension that writes through pointers).
#include "shim.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/LegacyTypeDispatch.h>
#if __has_include(<ATen/core/GraphImplInterface.h>)
#include <ATen/core/GraphImplInterface.h>
#define FOREBAY_GRAPH_INTERFACE
#endif

#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

namespace forebay {
namespace {

constexpr const char* kNotPermitted = "CUDA error: operation not permitted when stream is capturing";

struct Saved {
  c10::Storage storage;
  std::vector<char> bytes;
};

std::mutex streams_mutex;
std::set<std::pair<c10::DeviceIndex, int64_t>> capturing_streams;
std::atomic<int64_t> last_capture{0};

bool captures(c10::DeviceIndex card, int64_t stream) {
  std::lock_guard<std::mutex> lock(streams_mutex);
  return capturing_streams.count({card, stream}) != 0;
}

// A tensor that an operator made, not one that it was given or a view of one.
bool is_new(const at::Tensor& result, const std::vector<at::Tensor>& given) {
  if (!result.defined() || !result.has_storage()) {
    return false;
  }
  for (const at::Tensor& tensor : given) {
    if (tensor.is_same(result) || (tensor.has_storage() && tensor.storage().is_alias_of(result.storage()))) {
      return false;
    }
  }
  return true;
}

void gather(const c10::IValue& value, std::vector<at::Tensor>& tensors) {
  if (value.isTensor()) {
    tensors.push_back(value.toTensor());
  } else if (value.isList()) {
    for (const c10::IValue& one : value.toListRef()) {
      gather(one, tensors);
    }
  }
}

std::vector<at::Tensor> gathered(const c10::IValue* first, size_t count) {
  std::vector<at::Tensor> tensors;
  for (size_t i = 0; i < count; ++i) {
    gather(first[i], tensors);
  }
  return tensors;
}

}  // namespace

std::atomic<Recording*> underway{nullptr};

class Recording {
 public:
  const int64_t number = ++last_capture;
  bool broken = false;

  void then(std::function<void()> again) {
    std::lock_guard<std::mutex> lock(mutex_);
    steps_.push_back(std::move(again));
  }

  void made(const c10::Storage& host) {
    std::lock_guard<std::mutex> lock(mutex_);
    if (made_.insert(host.unsafeGetStorageImpl()).second) {
      kept_.push_back(host);  // so that no later storage has its address
    }
  }

  void about_to_write(const at::Tensor& on_host) {
    if (!on_host.defined() || !on_host.has_storage()) {
      return;
    }
    const c10::Storage& storage = on_host.storage();
    std::lock_guard<std::mutex> lock(mutex_);
    if (made_.count(storage.unsafeGetStorageImpl()) != 0) {
      return;
    }
    auto [place, first] = saved_.try_emplace(storage.unsafeGetStorageImpl(), Saved{storage, {}});
    if (first) {
      const char* data = static_cast<const char*>(storage.data());
      place->second.bytes.assign(data, data + storage.nbytes());
    }
  }

  void begin() {
    for (c10::DeviceIndex card = 0; card < cards(); ++card) {
      dice_.push_back(card_generator(card).clone());
    }
  }

  void end() {
    for (auto& [_, saved] : saved_) {
      std::memcpy(saved.storage.mutable_data(), saved.bytes.data(), std::min(saved.bytes.size(), saved.storage.nbytes()));
    }
    for (size_t card = 0; card < dice_.size() && card < static_cast<size_t>(cards()); ++card) {
      at::Generator generator = card_generator(static_cast<c10::DeviceIndex>(card));
      generator.set_state(dice_[card].get_state());
    }
    saved_.clear();
    made_.clear();
    kept_.clear();
    dice_.clear();
  }

  void replay() const {
    // As below autograd and autocast, where the operators were when they were recorded.
    at::AutoDispatchBelowADInplaceOrView below;
    c10::impl::ExcludeDispatchKeyGuard no_autocast(c10::autocast_dispatch_keyset);
    for (const auto& again : steps_) {
      again();
    }
  }

  size_t size() const {
    return steps_.size();
  }

 private:
  std::mutex mutex_;
  std::vector<std::function<void()>> steps_;
  std::unordered_map<c10::StorageImpl*, Saved> saved_;
  std::unordered_set<c10::StorageImpl*> made_;
  std::vector<c10::Storage> kept_;
  std::vector<at::Generator> dice_;
};

Recording* recording_here() {
  const c10::DeviceIndex card = current_card();
  return captures(card, current_stream(card)) ? underway.load() : nullptr;
}

int64_t capture_of(c10::DeviceIndex card, int64_t stream) {
  Recording* recording = underway.load();
  return recording != nullptr && captures(card, stream) ? recording->number : 0;
}

void join_capture(int64_t capture, c10::DeviceIndex card, int64_t stream) {
  Recording* recording = underway.load();
  if (recording == nullptr) {
    return;
  }
  if (capture == recording->number) {
    std::lock_guard<std::mutex> lock(streams_mutex);
    capturing_streams.insert({card, stream});
  } else if (captures(card, stream)) {
    recording->broken = true;
    TORCH_CHECK(false, "CUDA error: dependency created on uncaptured work in another stream");
  }
}

void refuse_in_capture(c10::DeviceIndex card, int64_t stream, const char* what) {
  Recording* recording = underway.load();
  if (recording != nullptr && captures(card, stream)) {
    recording->broken = true;
    TORCH_CHECK(false, kNotPermitted, " (", what, ")");
  }
}

void refuse_here(Recording* recording, const std::string& what) {
  recording->broken = true;
  TORCH_CHECK(false, kNotPermitted, " (", what, ")");
}

void record_made(const c10::Storage& host) {
  if (Recording* recording = recording_now()) {
    recording->made(host);
  }
}

void record_write(Recording* recording, const c10::IValue& value) {
  std::vector<at::Tensor> tensors;
  gather(value, tensors);
  for (const at::Tensor& tensor : tensors) {
    recording->about_to_write(tensor);
  }
}

void record_work(Recording* recording, std::function<void()> again) {
  recording->then(std::move(again));
}

void record_call(
    Recording* recording, const c10::OperatorHandle& op, torch::jit::Stack arguments, const c10::IValue* results, size_t count,
    Dice dice, bool writes) {
  const std::vector<at::Tensor> first = gathered(results, count);
  const std::vector<at::Tensor> given = gathered(arguments.data(), arguments.size());
  std::vector<std::pair<size_t, at::Tensor>> fresh;
  for (size_t i = 0; i < first.size(); ++i) {
    if (is_new(first[i], given)) {
      fresh.emplace_back(i, first[i]);
    }
  }
  if (fresh.empty() && !writes) {
    return;  // a view: nothing to do again
  }
  recording->then([op, arguments = std::move(arguments), fresh = std::move(fresh), count, dice] {
    torch::jit::Stack stack = arguments;
    if (dice.generator_at >= 0) {
      stack[dice.generator_at] = host_generator(stack[dice.generator_at].toGenerator());
    }
    {
      std::optional<BorrowedDice> borrowed;
      if (dice.hidden_card >= 0) {
        borrowed.emplace(dice.hidden_card);
      }
      op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), &stack);
    }
    const std::vector<at::Tensor> again = gathered(stack.data() + (stack.size() - count), count);
    for (const auto& [i, place] : fresh) {
      TORCH_CHECK(
          again[i].sizes().equals(place.sizes()), "a captured ", op.schema().name(), " gives ", again[i].sizes(), " at replay and gave ",
          place.sizes(), ": a CUDA graph can't hold an operator whose result changes its shape");
      place.copy_(again[i]);
    }
  });
}

// One torch.cuda.CUDAGraph.
struct Graph {
  std::unique_ptr<Recording> recording;
  std::pair<int64_t, int64_t> pool{0, 0};
  bool captured = false;

  ~Graph() {
    abandon();
  }

  void begin(std::pair<int64_t, int64_t> wanted_pool) {
    const c10::DeviceIndex card = current_card();
    const int64_t stream = current_stream(card);
    TORCH_CHECK(!recording, "This CUDAGraph instance already owns a captured graph. To capture a new graph, create a new instance.");
    TORCH_CHECK(
        stream != 0,
        "CUDA graphs must be captured on a non-default stream. (However, after capture, it's ok to replay them on the default "
        "stream.)");
    auto fresh = std::make_unique<Recording>();
    fresh->begin();
    Recording* none = nullptr;
    TORCH_CHECK(underway.compare_exchange_strong(none, fresh.get()), "another capture is underway in this process: one at a time");
    recording = std::move(fresh);
    pool = wanted_pool.first || wanted_pool.second ? wanted_pool : new_pool();
    std::lock_guard<std::mutex> lock(streams_mutex);
    capturing_streams = {{card, stream}};
  }

  void end() {
    TORCH_CHECK(recording && underway.load() == recording.get(), "capture_end was called without a capture_begin");
    stop();
    if (recording->broken) {
      recording.reset();
      TORCH_CHECK(false, "CUDA error: operation failed due to a previous error during capture");
    }
    captured = true;
  }

  void replay() const {
    TORCH_CHECK(captured, "Called CUDAGraph::replay without a preceding successful capture.");
    refuse_in_capture(current_card(), current_stream(current_card()), "CUDAGraph.replay");
    recording->replay();
  }

  void abandon() {
    if (recording && underway.load() == recording.get()) {
      stop();
    }
    recording.reset();
    captured = false;
  }

  static std::pair<int64_t, int64_t> new_pool() {
    static std::atomic<int64_t> last{0};
    return {0, ++last};
  }

 private:
  void stop() {
    {
      std::lock_guard<std::mutex> lock(streams_mutex);
      capturing_streams.clear();
    }
    underway = nullptr;
    recording->end();
  }
};

}  // namespace forebay

#ifdef FOREBAY_GRAPH_INTERFACE
namespace at {

// What torch.accelerator.Graph stands on.
struct ForebayGraph final : GraphImplInterface {
  forebay::Graph graph;

  explicit ForebayGraph(const GraphImplArgs&) {}
  void capture_begin(MempoolId_t pool, GraphCaptureMode) override {
    graph.begin({static_cast<int64_t>(pool.first), static_cast<int64_t>(pool.second)});
  }
  void capture_end() override {
    graph.end();
  }
  void instantiate() override {}
  void replay() override {
    graph.replay();
  }
  void reset() override {
    graph.abandon();
  }
  MempoolId_t pool() const override {
    return {graph.pool.first, graph.pool.second};
  }
  void enable_debug_mode() override {}
  void debug_dump(const std::string&) override {}
};

C10_REGISTER_CLASS_WITH_PRIORITY(GraphImplRegistry, CUDA, c10::REGISTRY_PREFERRED, ForebayGraph)

}  // namespace at
#endif

namespace {

thread_local std::string what_failed;

// Runs it; null, or what it raised: no C++ exception crosses to Python.
template <class Work>
const char* said(Work work) {
  try {
    work();
    return nullptr;
  } catch (const c10::Error& error) {
    what_failed = error.what_without_backtrace();
  } catch (const std::exception& error) {
    what_failed = error.what();
  }
  return what_failed.c_str();
}

forebay::Graph* graph_at(void* address) {
  return static_cast<forebay::Graph*>(address);
}

}  // namespace

extern "C" {

void* forebay_graph_new() {
  return new forebay::Graph;
}

void forebay_graph_delete(void* graph) {
  delete graph_at(graph);
}

const char* forebay_graph_begin(void* graph, int64_t pool_first, int64_t pool_second) {
  return said([&] { graph_at(graph)->begin({pool_first, pool_second}); });
}

const char* forebay_graph_end(void* graph) {
  return said([&] { graph_at(graph)->end(); });
}

const char* forebay_graph_replay(void* graph) {
  return said([&] { graph_at(graph)->replay(); });
}

void forebay_graph_reset(void* graph) {
  graph_at(graph)->abandon();
}

void forebay_graph_pool(void* graph, int64_t* two) {
  two[0] = graph_at(graph)->pool.first;
  two[1] = graph_at(graph)->pool.second;
}

// How many pieces of work a replay does again.
int64_t forebay_graph_size(void* graph) {
  return graph_at(graph)->recording ? static_cast<int64_t>(graph_at(graph)->recording->size()) : 0;
}

void forebay_new_pool(int64_t* two) {
  const auto pool = forebay::Graph::new_pool();
  two[0] = pool.first;
  two[1] = pool.second;
}

int forebay_capturing() {
  return forebay::recording_now() != nullptr;
}

}  // extern "C"
