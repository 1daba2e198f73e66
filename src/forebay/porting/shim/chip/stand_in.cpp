// For a chip whose kernels are Python: what torch takes from C++ only.
//
// Asked:  torch lets a device be written in Python, without streams, a current device or generators: who gives those?
// Answer: `forebay_stand_in(n)` registers a guard for n cards whose work is done when a call returns, and generators of the
//         host's behind the chip's name. Used by fakechip, and for a vendor's first steps; never where a plug-in has its own.
// Limits: PrivateUse1 only. Event times are the host's clock.
#include "redirect.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <atomic>
#include <chrono>
#include <map>
#include <mutex>

namespace forebay {
namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::Stream;

constexpr int kMostCards = 64;
std::atomic<int> cards{0};
std::atomic<int64_t> last_stream{0};
thread_local DeviceIndex here = 0;
thread_local int64_t stream_of[kMostCards] = {};

DeviceIndex index_or_current(DeviceIndex index) {
  TORCH_CHECK(index < cards, "invalid device ordinal (asked for ", int(index), "; there are ", cards.load(), " cards)");
  return index < 0 ? here : index;
}

Stream stream_numbered(int64_t id, DeviceIndex index) {
  return Stream(Stream::UNSAFE, Device(kChip, index), id);
}

int64_t now() {
  return std::chrono::steady_clock::now().time_since_epoch().count();
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override {
    return kChip;
  }
  Device exchangeDevice(Device to) const override {
    return Device(kChip, std::exchange(here, index_or_current(to.index())));
  }
  Device getDevice() const override {
    return Device(kChip, here);
  }
  void setDevice(Device to) const override {
    here = index_or_current(to.index());
  }
  void uncheckedSetDevice(Device to) const noexcept override {
    here = to.index() < 0 ? here : to.index();
  }
  DeviceIndex deviceCount() const noexcept override {
    return static_cast<DeviceIndex>(cards.load());
  }
  Stream getStream(Device on) const noexcept override {
    const DeviceIndex index = on.index() < 0 ? here : on.index();
    return stream_numbered(stream_of[index], index);
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
    return stream_numbered(std::exchange(stream_of[to.device_index()], to.id()), to.device_index());
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
      *event = new int64_t;
    }
    *static_cast<int64_t*>(*event) = now();
  }
  void block(void*, const Stream&) const override {}
  bool queryEvent(void*) const override {
    return true;
  }
  void synchronizeEvent(void*) const override {}
  double elapsedTime(void* first, void* second, const DeviceIndex) const override {
    TORCH_CHECK(first && second, "Both events must be recorded before calculating elapsed time.");
    return static_cast<double>(*static_cast<int64_t*>(second) - *static_cast<int64_t*>(first)) / 1e6;
  }
  void destroyEvent(void* event, const DeviceIndex) const noexcept override {
    delete static_cast<int64_t*>(event);
  }
};

struct Generator final : c10::GeneratorImpl {
  at::Generator host;

  Generator(DeviceIndex index, at::Generator of_host)
      : c10::GeneratorImpl(Device(kChip, index), c10::DispatchKeySet(kChipKey)), host(std::move(of_host)) {}

  void set_current_seed(uint64_t seed) override {
    host.set_current_seed(seed);
  }
  void set_offset(uint64_t) override {
    TORCH_CHECK(false, "this generator has no offset: it is the host's, not Philox");
  }
  uint64_t get_offset() const override {
    TORCH_CHECK(false, "this generator has no offset: it is the host's, not Philox");
  }
  uint64_t current_seed() const override {
    return host.current_seed();
  }
  uint64_t seed() override {
    return host.seed();
  }
  void set_state(const c10::TensorImpl& state) override {
    host.unsafeGetGeneratorImpl()->set_state(state);
  }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override {
    return host.unsafeGetGeneratorImpl()->get_state();
  }
  Generator* clone_impl() const override {
    return new Generator(device_.index(), host.clone());
  }
};

// Host memory that answers is_pinned(): ordinary pages, remembered by address.
struct PinnedAllocator final : c10::Allocator {
  std::mutex mutex;
  std::map<const char*, size_t> regions;

  static PinnedAllocator& one() {
    static auto* allocator = new PinnedAllocator;  // never destroyed: tensors may outlive static objects
    return *allocator;
  }
  c10::DataPtr allocate(size_t bytes) override {
    void* data = c10::GetCPUAllocator()->raw_allocate(bytes ? bytes : 1);
    std::lock_guard<std::mutex> lock(mutex);
    regions[static_cast<const char*>(data)] = bytes ? bytes : 1;
    return {data, data, &free, Device(c10::kCPU)};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  static void free(void* data) {
    {
      std::lock_guard<std::mutex> lock(one().mutex);
      one().regions.erase(static_cast<const char*>(data));
    }
    c10::GetCPUAllocator()->raw_deallocate(data);
  }
  bool holds(const void* data) {
    std::lock_guard<std::mutex> lock(mutex);
    auto after = regions.upper_bound(static_cast<const char*>(data));
    return after != regions.begin() && data < std::prev(after)->first + std::prev(after)->second;
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool hasPrimaryContext(DeviceIndex) const override {
    return true;
  }
#if FOREBAY_TORCH_AT_LEAST(2, 6)
  bool isBuilt() const override {
    return true;
  }
  bool isAvailable() const override {
    return cards > 0;
  }
#endif
  const at::Generator& getDefaultGenerator(DeviceIndex index) const override {
    return stand_in_generator(index_or_current(index));
  }
#if FOREBAY_TORCH_AT_LEAST(2, 6)
  at::Generator getNewGenerator(DeviceIndex index) const override {
    index = index_or_current(index);
    return take_next_is_default() ? stand_in_generator(index) : new_stand_in_generator(index);
  }
#endif
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    c10::StorageImpl* mine = storage.unsafeGetStorageImpl();
    c10::DataPtr fresh = c10::GetCPUAllocator()->allocate(bytes);
    const size_t kept = std::min(bytes, mine->nbytes());
    if (kept > 0) {
      std::memcpy(fresh.get(), mine->data(), kept);
    }
    fresh.unsafe_set_device(mine->device());
    mine->set_data_ptr_noswap(std::move(fresh));
    mine->set_nbytes(bytes);
  }
  bool isPinnedPtr(const void* data) const override {
    return PinnedAllocator::one().holds(data);
  }
  c10::Allocator* getPinnedMemoryAllocator() const override {
    return &PinnedAllocator::one();
  }
  DeviceIndex deviceCount() const override {
    return static_cast<DeviceIndex>(cards.load());
  }
  void setCurrentDevice(DeviceIndex index) const override {
    here = index_or_current(index);
  }
  DeviceIndex getCurrentDevice() const override {
    return here;
  }
  DeviceIndex exchangeDevice(DeviceIndex index) const override {
    return std::exchange(here, index_or_current(index));
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override {
    return index < 0 ? here : exchangeDevice(index);
  }
};

}  // namespace

bool stands_in() {
  return cards > 0;
}

at::Generator new_stand_in_generator(c10::DeviceIndex index) {
  return at::make_generator<Generator>(index, at::detail::createCPUGenerator());
}

const at::Generator& stand_in_generator(c10::DeviceIndex index) {
  static std::mutex mutex;
  static auto* known = new std::array<at::Generator, kMostCards>;  // never destroyed
  std::lock_guard<std::mutex> lock(mutex);
  at::Generator& one = (*known)[index];
  if (!one.defined()) {
    one = new_stand_in_generator(index);
  }
  return one;
}

}  // namespace forebay

extern "C" void forebay_stand_in(int cards) {
  if (forebay::cards.exchange(cards) == 0 && cards > 0) {
    static const forebay::Guard guard;
    c10::impl::device_guard_impl_registry[static_cast<size_t>(forebay::kChip)].store(&guard);
    at::RegisterPrivateUse1HooksInterface(new forebay::Hooks);
  }
}
