// The simulated cards themselves: which one is current, streams, events, random numbers, hooks.
//
// Asked:  what must torch find registered for "cuda" before it believes in it?
// Answer: a device guard, a class named CUDAHooks in the hooks' registry (looked up once, at first use: so this library
//         loads before torch does), a generator for each card, and a timer for DistributedDataParallel.
// Limits: work is done when a call returns, so a stream is a number, waiting is nothing, and an event is the host's clock.
#include "shim.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/AutogradState.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <mutex>

namespace forebay {
namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::Stream;

std::atomic<int> how_many_cards{1};
std::atomic<int64_t> last_stream{0};
thread_local DeviceIndex here = 0;
thread_local int64_t stream_of[kMostCards] = {};

DeviceIndex checked(DeviceIndex card) {
  TORCH_CHECK(
      card >= 0 && card < cards(), "CUDA error: invalid device ordinal (asked for cuda:", int(card), "; there are ",
      int(cards()), " simulated cards)");
  return card;
}

DeviceIndex index_or_current(DeviceIndex card) {
  return card < 0 ? current_card() : checked(card);
}

Stream stream_numbered(int64_t id, DeviceIndex card) {
  return Stream(Stream::UNSAFE, Device(c10::kCUDA, card), id);
}

struct Moment {
  int64_t nanoseconds;
  int64_t capture;  // that its stream took part in, or 0
};

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override {
    return c10::kCUDA;
  }
  Device exchangeDevice(Device to) const override {
    const DeviceIndex from = here;
    here = index_or_current(to.index());
    return Device(c10::kCUDA, from);
  }
  Device getDevice() const override {
    return Device(c10::kCUDA, here);
  }
  void setDevice(Device to) const override {
    here = index_or_current(to.index());
  }
  void uncheckedSetDevice(Device to) const noexcept override {
    here = to.index() < 0 ? here : to.index();
  }
  DeviceIndex deviceCount() const noexcept override {
    return cards();
  }
  Stream getStream(Device on) const noexcept override {
    const DeviceIndex card = on.index() < 0 ? here : on.index();
    return stream_numbered(stream_of[card], card);
  }
  Stream getDefaultStream(Device on) const override {
    return stream_numbered(0, index_or_current(on.index()));
  }
  Stream getNewStream(Device on, int) const override {
    return stream_numbered(++last_stream, index_or_current(on.index()));
  }
  Stream getStreamFromGlobalPool(Device on, bool) const override {
    return getNewStream(on, 0);
  }
  Stream exchangeStream(Stream to) const noexcept override {
    const DeviceIndex card = to.device_index();
    return stream_numbered(std::exchange(stream_of[card], to.id()), card);
  }
  bool queryStream(const Stream& stream) const override {
    refuse_in_capture(stream.device_index(), stream.id(), "querying a stream");
    return true;
  }
  void synchronizeStream(const Stream& stream) const override {
    refuse_in_capture(stream.device_index(), stream.id(), "waiting for a stream on the host");
  }
#if FOREBAY_TORCH_AT_LEAST(2, 6)
  void synchronizeDevice(const DeviceIndex card) const override {
    refuse_in_capture(here, stream_of[here], "waiting for a device on the host");
  }
#endif
  bool isStreamCapturing(const Stream& stream) const {  // overrides where torch asks for it
    return capture_of(stream.device_index(), stream.id()) != 0;
  }

  void record(void** event, const Stream& stream, const DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) {
      *event = new Moment;
    }
    const int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
    *static_cast<Moment*>(*event) = {now, capture_of(stream.device_index(), stream.id())};
  }
  void block(void* event, const Stream& stream) const override {
    if (event != nullptr) {
      join_capture(static_cast<Moment*>(event)->capture, stream.device_index(), stream.id());
    }
  }
  bool queryEvent(void* event) const override {
    refuse_wait(event, "querying an event");
    return true;
  }
  void synchronizeEvent(void* event) const override {
    refuse_wait(event, "waiting for an event on the host");
  }
  static void refuse_wait(void* event, const char* what) {
    if (event != nullptr && static_cast<Moment*>(event)->capture != 0) {
      refuse_in_capture(here, stream_of[here], what);
    }
  }
  double elapsedTime(void* first, void* second, const DeviceIndex) const override {
    TORCH_CHECK(first && second, "Both events must be recorded before calculating elapsed time.");
    return static_cast<double>(static_cast<Moment*>(second)->nanoseconds - static_cast<Moment*>(first)->nanoseconds) / 1e6;
  }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override {
    delete static_cast<Moment*>(event);
  }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard);  // the newest is the one that torch asks

// A cuda generator is a seed and an offset, as Philox's is on a card: that is its state, 16 bytes. Each operator's numbers come from
// the host's engine, seeded with both; then the offset moves on. So a state that was kept gives the same numbers again, and the first
// numbers after a seed are those that the CPU gives for it.
struct CardGenerator final : c10::GeneratorImpl {
  static constexpr uint64_t kStep = 4;  // Philox gives four numbers at a time: offsets are multiples of it
  at::Generator inner = at::detail::createCPUGenerator();
  uint64_t seed_ = c10::default_rng_seed_val;
  uint64_t offset_ = 0;

  explicit CardGenerator(DeviceIndex card)
      : c10::GeneratorImpl(Device(c10::kCUDA, card), c10::DispatchKeySet(c10::DispatchKey::CUDA)) {}

  // The host's engine for the next operator.
  at::CPUGeneratorImpl* next() {
    auto* host = static_cast<at::CPUGeneratorImpl*>(inner.unsafeGetGeneratorImpl());
    std::scoped_lock lock(mutex_, host->mutex_);
    uint64_t mixed = seed_;
    if (offset_ != 0) {  // splitmix64, by Steele, Lea and Flood 2014
      mixed += 0x9e3779b97f4a7c15ULL * (offset_ / kStep);
      mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
      mixed ^= mixed >> 31;
    }
    host->set_current_seed(mixed);
    offset_ += kStep;
    return host;
  }

  void set_current_seed(uint64_t seed) override {
    seed_ = seed;
    offset_ = 0;
  }
  void set_offset(uint64_t offset) override {
    TORCH_CHECK(offset % kStep == 0, "offset must be a multiple of 4");
    offset_ = offset;
  }
  uint64_t get_offset() const override {
    return offset_;
  }
  uint64_t current_seed() const override {
    return seed_;
  }
  uint64_t seed() override {
    set_current_seed(c10::detail::getNonDeterministicRandom(true));
    return seed_;
  }
  void set_state(const c10::TensorImpl& state) override {
    at::detail::check_rng_state(state);
    constexpr int64_t whole = 2 * sizeof(uint64_t);
    const int64_t bytes = state.numel();
    TORCH_CHECK(bytes == whole || bytes == whole - 8, "RNG state is wrong size");  // an old state has no offset, as on a card
    const auto* data = static_cast<const char*>(state.data());
    offset_ = 0;
    std::memcpy(&seed_, data, sizeof seed_);
    if (bytes == whole) {
      std::memcpy(&offset_, data + sizeof seed_, sizeof offset_);
    }
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    at::Tensor state = at::detail::empty_cpu({2 * sizeof(uint64_t)}, at::kByte);
    auto* data = static_cast<char*>(state.mutable_data_ptr());
    std::memcpy(data, &seed_, sizeof seed_);
    std::memcpy(data + sizeof seed_, &offset_, sizeof offset_);
    return state.getIntrusivePtr();
  }
  CardGenerator* clone_impl() const override {
    auto* copy = new CardGenerator(device_.index());
    copy->seed_ = seed_;
    copy->offset_ = offset_;
    return copy;
  }
};

at::Generator new_generator(DeviceIndex card) {
  return at::make_generator<CardGenerator>(card);
}

}  // namespace

DeviceIndex cards() {
  return static_cast<DeviceIndex>(how_many_cards.load(std::memory_order_relaxed));
}

DeviceIndex current_card() {
  return here;
}

int64_t current_stream(DeviceIndex card) {
  return stream_of[card];
}

const at::Generator& card_generator(DeviceIndex card) {
  static std::mutex mutex;
  static at::Generator* generators = new at::Generator[kMostCards];  // never destroyed
  std::lock_guard<std::mutex> lock(mutex);
  if (!generators[card].defined()) {
    generators[card] = new_generator(card);
  }
  return generators[card];
}

at::Generator host_generator(const at::Generator& of_card) {
  TORCH_CHECK(
      of_card.device().is_cuda(), "Expected a 'cuda' device type for generator but found '",
      c10::DeviceTypeName(of_card.device().type(), /*lower_case=*/true), "'");
  auto* generator = static_cast<CardGenerator*>(of_card.unsafeGetGeneratorImpl());
  generator->next();
  return generator->inner;
}

BorrowedDice::BorrowedDice(DeviceIndex card)
    : generator_(host_generator(card_generator(card))) {
  swap();
}

BorrowedDice::~BorrowedDice() {
  swap();
}

void BorrowedDice::swap() {
  auto* mine = static_cast<at::CPUGeneratorImpl*>(generator_.unsafeGetGeneratorImpl());
  auto* hosts = static_cast<at::CPUGeneratorImpl*>(at::detail::getDefaultCPUGenerator().unsafeGetGeneratorImpl());
  std::scoped_lock lock(mine->mutex_, hosts->mutex_);
  auto engine = mine->engine();
  mine->set_engine(hosts->engine());
  hosts->set_engine(engine);
  auto small = mine->next_float_normal_sample();
  mine->set_next_float_normal_sample(hosts->next_float_normal_sample());
  hosts->set_next_float_normal_sample(small);
  auto large = mine->next_double_normal_sample();
  mine->set_next_double_normal_sample(hosts->next_double_normal_sample());
  hosts->set_next_double_normal_sample(large);
}

}  // namespace forebay

namespace at {

// The name is not ours to choose: torch looks for "CUDAHooks" in this registry. A CUDA build has registered its own there.
struct CUDAHooks final : CUDAHooksInterface {
  explicit CUDAHooks(CUDAHooksArgs) {}

#if FOREBAY_TORCH_AT_LEAST(2, 6)
  void init() const override {}
  bool isBuilt() const override {
    return true;
  }
  bool isAvailable() const override {
    return forebay::cards() > 0;
  }
  const Generator& getDefaultGenerator(DeviceIndex card = -1) const override {
    return forebay::card_generator(forebay::index_or_current(card));
  }
  Generator getNewGenerator(DeviceIndex card = -1) const override {
    return forebay::new_generator(forebay::index_or_current(card));
  }
#else
  void initCUDA() const override {}
  const Generator& getDefaultCUDAGenerator(DeviceIndex card = -1) const override {
    return forebay::card_generator(forebay::index_or_current(card));
  }
#endif
  bool hasCUDA() const override {
    return true;
  }
  bool hasPrimaryContext(DeviceIndex) const override {
    return true;
  }
  bool isPinnedPtr(const void* data) const override {
    return forebay::is_pinned(data);
  }
  Allocator* getPinnedMemoryAllocator() const override {
    return forebay::pinned_allocator();
  }
  Allocator* getCUDADeviceAllocator() const override {
    return forebay::card_allocator();
  }
  Device getDeviceFromPtr(void*) const override {
    return Device(c10::kCUDA, forebay::current_card());
  }
  DeviceIndex current_device() const override {
    return forebay::current_card();
  }
#if FOREBAY_TORCH_AT_LEAST(2, 8)
  int getNumGPUs() const override {
    return forebay::cards();
  }
#endif
  DeviceIndex deviceCount() const override {
    return forebay::cards();
  }
  void setCurrentDevice(DeviceIndex card) const override {
    forebay::here = forebay::checked(card);
  }
  DeviceIndex getCurrentDevice() const override {
    return forebay::current_card();
  }
  DeviceIndex exchangeDevice(DeviceIndex card) const override {
    return std::exchange(forebay::here, forebay::checked(card));
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex card) const override {
    return card < 0 ? forebay::here : exchangeDevice(card);
  }
  void deviceSynchronize(DeviceIndex) const override {
    const DeviceIndex card = forebay::current_card();
    forebay::refuse_in_capture(card, forebay::current_stream(card), "waiting for a device on the host");
  }
  std::string showConfig() const override {
    return "simulated CUDA device of Forebay";
  }
};

C10_REGISTER_CLASS_WITH_PRIORITY(CUDAHooksRegistry, CUDAHooks, c10::REGISTRY_PREFERRED, CUDAHooks)

}  // namespace at

namespace {
// Backward runs in the thread that asked for it, as on the CPU. A thread for each card would bring a second team of OpenMP
// threads, which costs more than it hides: there is no device to wait for.
const bool backward_stays_in_its_thread =
    (c10::AutogradState::get_tls_state().set_multithreading_enabled(false), true);
}  // namespace

extern "C" {

void forebay_set_cards(int cards) {
  forebay::how_many_cards = cards;
}

int forebay_cards() {
  return forebay::cards();
}

int forebay_current_card() {
  return forebay::here;
}

// Returns the card that was current before. The caller checks the range: its error is a Python one.
int forebay_exchange_card(int card) {
  return std::exchange(forebay::here, static_cast<c10::DeviceIndex>(card));
}

int64_t forebay_stream(int card) {
  return forebay::stream_of[card];
}

void forebay_set_stream(int card, int64_t id) {
  forebay::stream_of[card] = id;
}

// An at::Generator of this card, for torch's THPGenerator_Wrap to make a Python object of: the card's default one, or a new
// one. The caller gives it back to forebay_free_generator.
void* forebay_generator(int card, bool is_default) {
  const auto index = static_cast<c10::DeviceIndex>(card);
  return new at::Generator(is_default ? forebay::card_generator(index) : forebay::new_generator(index));
}

void forebay_free_generator(void* generator) {
  delete static_cast<at::Generator*>(generator);
}

}  // extern "C"
