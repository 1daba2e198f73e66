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
  bool queryStream(const Stream&) const override {
    return true;
  }
  void synchronizeStream(const Stream&) const override {}
#if FOREBAY_TORCH_AT_LEAST(2, 6)
  void synchronizeDevice(const DeviceIndex) const override {}
#endif

  void record(void** event, const Stream&, const DeviceIndex, const c10::EventFlag) const override {
    if (*event == nullptr) {
      *event = new Moment;
    }
    static_cast<Moment*>(*event)->nanoseconds = std::chrono::steady_clock::now().time_since_epoch().count();
  }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override {
    return true;
  }
  void synchronizeEvent(void*) const override {}
  double elapsedTime(void* first, void* second, const DeviceIndex) const override {
    TORCH_CHECK(first && second, "Both events must be recorded before calculating elapsed time.");
    return static_cast<double>(static_cast<Moment*>(second)->nanoseconds - static_cast<Moment*>(first)->nanoseconds) / 1e6;
  }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override {
    delete static_cast<Moment*>(event);
  }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard);  // the newest is the one that torch asks

// A cuda generator is a host generator behind another name: each card draws from one of its own.
struct CardGenerator final : c10::GeneratorImpl {
  at::Generator inner;

  CardGenerator(DeviceIndex card, at::Generator host)
      : c10::GeneratorImpl(Device(c10::kCUDA, card), c10::DispatchKeySet(c10::DispatchKey::CUDA)), inner(std::move(host)) {}

  void set_current_seed(uint64_t seed) override {
    inner.set_current_seed(seed);
  }
  void set_offset(uint64_t) override {
    TORCH_CHECK(false, "the simulated device's generator has no offset: it is the host's, not Philox");
  }
  uint64_t get_offset() const override {
    TORCH_CHECK(false, "the simulated device's generator has no offset: it is the host's, not Philox");
  }
  uint64_t current_seed() const override {
    return inner.current_seed();
  }
  uint64_t seed() override {
    return inner.seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    inner.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return inner.unsafeGetGeneratorImpl()->get_state();
  }
  CardGenerator* clone_impl() const override {
    return new CardGenerator(device_.index(), inner.clone());
  }
};

at::Generator new_generator(DeviceIndex card) {
  return at::make_generator<CardGenerator>(card, at::detail::createCPUGenerator());
}

at::CPUGeneratorImpl* host_impl(const at::Generator& generator) {
  return static_cast<at::CPUGeneratorImpl*>(host_generator(generator).unsafeGetGeneratorImpl());
}

}  // namespace

DeviceIndex cards() {
  return static_cast<DeviceIndex>(how_many_cards.load(std::memory_order_relaxed));
}

DeviceIndex current_card() {
  return here;
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
  return static_cast<CardGenerator*>(of_card.unsafeGetGeneratorImpl())->inner;
}

BorrowedDice::BorrowedDice(DeviceIndex card) : card_(card) {
  swap();
}

BorrowedDice::~BorrowedDice() {
  swap();
}

void BorrowedDice::swap() {
  auto* mine = host_impl(card_generator(card_));
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
  void deviceSynchronize(DeviceIndex) const override {}
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
