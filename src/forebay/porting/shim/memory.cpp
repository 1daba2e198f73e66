// Memory of the simulated cards.
//
// Asked:  how much does each card hold, and when is it full?
// Answer: every cuda storage owns a Block: the host storage with the bytes, and the number charged to the card. Sizes are
//         rounded up to 512 bytes, as CUDA's caching allocator does, so that figures are like those on a card.
// Limits: what a host kernel needs while it runs is not charged.
#include "shim.h"

#include <c10/core/CPUAllocator.h>
#if FOREBAY_TORCH_AT_LEAST(2, 13)
#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#endif
#include <c10/core/TensorImpl.h>
#include <c10/util/Exception.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

namespace forebay {
namespace {

struct Ledger {
  std::atomic<int64_t> held{0}, peak{0}, reserved{0}, reserved_peak{0};
  std::atomic<int64_t> blocks{0}, blocks_peak{0}, blocks_ever{0}, bytes_ever{0}, refused{0};
};

Ledger ledgers[kMostCards];
std::atomic<int64_t> limit_bytes{0};  // 0: none

struct Block {
  c10::Storage host;
  int64_t bytes;
  c10::DeviceIndex card;
};

void raise_to(std::atomic<int64_t>& most, int64_t value) {
  int64_t seen = most.load(std::memory_order_relaxed);
  while (seen < value && !most.compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

double mebibytes(int64_t bytes) {
  return static_cast<double>(bytes) / (1 << 20);
}

// What a card holds: its limit, or as much as the machine has.
int64_t capacity() {
  static const int64_t all = static_cast<int64_t>(sysconf(_SC_PAGESIZE)) * sysconf(_SC_PHYS_PAGES);
  const int64_t limit = limit_bytes.load(std::memory_order_relaxed);
  return limit > 0 ? limit : all;
}

void charge(c10::DeviceIndex card, int64_t bytes) {
  Ledger& ledger = ledgers[card];
  const int64_t limit = capacity();
  const int64_t held = ledger.held.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (held > limit) {
    ledger.held.fetch_sub(bytes, std::memory_order_relaxed);
    ledger.refused.fetch_add(1, std::memory_order_relaxed);
    TORCH_CHECK_WITH(
        OutOfMemoryError, false, "CUDA out of memory. Tried to allocate ", mebibytes(bytes), " MiB. GPU ", int(card),
        " (simulated) has a total capacity of ", mebibytes(limit), " MiB, of which ", mebibytes(limit - held + bytes),
        " MiB is free.");
  }
  raise_to(ledger.peak, held);
  raise_to(ledger.reserved, held);
  raise_to(ledger.reserved_peak, held);
  raise_to(ledger.blocks_peak, ledger.blocks.fetch_add(1, std::memory_order_relaxed) + 1);
  ledger.blocks_ever.fetch_add(1, std::memory_order_relaxed);
  ledger.bytes_ever.fetch_add(bytes, std::memory_order_relaxed);
}

// A profile with profile_memory=True asks for each allocation; without one this is a look at a thread's own variable.
void tell_profiler(void* data, int64_t bytes, c10::DeviceIndex card) {
  if (c10::memoryProfilingEnabled()) {
    const Ledger& l = ledgers[card];
    c10::reportMemoryUsageToProfiler(data, bytes, l.held, l.reserved, c10::Device(c10::kCUDA, card));
  }
}

void release(void* context) {
  auto* block = static_cast<Block*>(context);
  ledgers[block->card].held.fetch_sub(block->bytes, std::memory_order_relaxed);
  ledgers[block->card].blocks.fetch_sub(1, std::memory_order_relaxed);
  tell_profiler(block->host.mutable_data(), -block->bytes, block->card);
  delete block;
}

// The bytes of a host storage as a card's: the pointer is the same, the owner is a Block.
c10::DataPtr seal(c10::Storage host, c10::DeviceIndex card) {
  const int64_t bytes = (static_cast<int64_t>(host.nbytes()) + 511) / 512 * 512;
  charge(card, bytes);
  record_made(host);
  void* data = host.mutable_data();
  tell_profiler(data, bytes, card);
  return {data, new Block{std::move(host), bytes, card}, &release, c10::Device(c10::kCUDA, card)};
}

c10::Storage host_storage(size_t bytes) {
  if (bytes > static_cast<size_t>(capacity())) {
    charge(current_card(), static_cast<int64_t>(bytes));  // raises, in CUDA's words rather than the host allocator's
  }
  return c10::Storage(c10::Storage::use_byte_size_t(), bytes, c10::GetCPUAllocator(), /*resizable=*/true);
}

c10::Storage card_storage(const c10::Storage& host, c10::DeviceIndex card) {
  return c10::Storage(c10::Storage::use_byte_size_t(), host.nbytes(), seal(host, card), card_allocator(), /*resizable=*/true);
}

// The host storage under a card's one. Memory that somebody else tagged cuda (torch::from_blob) is borrowed: the host
// storage made for it keeps the card's alive.
c10::Storage host_of(const c10::Storage& of_card) {
  const c10::DataPtr& data = of_card.data_ptr();
  if (data.get_deleter() == &release) {
    return static_cast<Block*>(data.get_context())->host;
  }
  c10::DataPtr borrowed(
      data.get(), new c10::Storage(of_card), [](void* owner) { delete static_cast<c10::Storage*>(owner); },
      c10::Device(c10::kCPU));
  return c10::Storage(c10::Storage::use_byte_size_t(), of_card.nbytes(), std::move(borrowed), nullptr, /*resizable=*/false);
}

void reset_peak(Ledger& l) {
  l.peak = l.held.load();
  l.reserved_peak = l.reserved.load();
  l.blocks_peak = l.blocks.load();
}

void reset_totals(Ledger& l) {
  l.blocks_ever = 0;
  l.bytes_ever = 0;
  l.refused = 0;
}

void empty_cache() {
  for (Ledger& l : ledgers) {
    l.reserved = l.held.load();
  }
}

#if FOREBAY_TORCH_AT_LEAST(2, 13)
// What torch.accelerator asks for its memory figures; in CUDA's form they are made in Python.
struct CardAllocator final : c10::DeviceAllocator {
  bool initialized() override {
    return true;
  }
  void emptyCache(c10::MempoolId_t) override {
    empty_cache();
  }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex card) override {
    const Ledger& l = ledgers[card];
    const auto every = [](int64_t current, int64_t peak, int64_t ever) {
      c10::CachingAllocator::StatArray pools{};
      for (auto pool : {c10::CachingAllocator::StatType::AGGREGATE, c10::CachingAllocator::StatType::LARGE_POOL}) {
        auto& stat = pools[static_cast<size_t>(pool)];
        stat.current = current;
        stat.peak = peak;
        stat.allocated = ever;
        stat.freed = ever - current;
      }
      return pools;
    };
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocation = stats.segment = stats.active = every(l.blocks, l.blocks_peak, l.blocks_ever);
    stats.allocated_bytes = stats.active_bytes = stats.requested_bytes = every(l.held, l.peak, l.bytes_ever);
    stats.reserved_bytes = every(l.reserved, l.reserved_peak, l.reserved_peak);
    stats.num_alloc_retries = stats.num_ooms = l.refused;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex card) override {
    reset_totals(ledgers[card]);
  }
  void resetPeakStats(c10::DeviceIndex card) override {
    reset_peak(ledgers[card]);
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex card) override {
    const int64_t total = capacity();
    return {std::max<int64_t>(0, total - ledgers[card].held), total};
  }
#else
struct CardAllocator final : c10::Allocator {
#endif
  c10::DataPtr allocate(size_t bytes) override {
    return seal(host_storage(bytes), current_card());
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

// Host memory that answers is_pinned(): ordinary pages, remembered by address.
#if FOREBAY_TORCH_AT_LEAST(2, 13)
struct PinnedAllocator final : at::HostAllocator {
  bool record_event(void*, void*, c10::Stream) override {
    return true;
  }
  void empty_cache() override {}
  at::HostStats get_stats() override {
    return {};
  }
  void reset_accumulated_stats() override {}
  void reset_peak_stats() override {}
  void begin_allocate_to_pool(c10::MempoolId_t, std::function<bool(c10::Stream)>) override {}
  void end_allocate_to_pool(c10::MempoolId_t) override {}
  void release_pool(c10::MempoolId_t) override {}

#else
struct PinnedAllocator final : c10::Allocator {
#endif
  std::mutex mutex;
  std::map<const char*, size_t> regions;

  c10::DataPtr allocate(size_t bytes) override;
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
};

CardAllocator the_card_allocator;
PinnedAllocator& the_pinned_allocator() {
  static auto* one = new PinnedAllocator;  // never destroyed: tensors may outlive static objects
  return *one;
}

void unpin(void* context) {
  auto& pinned = the_pinned_allocator();
  {
    std::lock_guard<std::mutex> lock(pinned.mutex);
    pinned.regions.erase(static_cast<const char*>(context));
  }
  c10::GetCPUAllocator()->raw_deallocate(context);
}

c10::DataPtr PinnedAllocator::allocate(size_t bytes) {
  void* data = c10::GetCPUAllocator()->raw_allocate(bytes ? bytes : 1);
  std::lock_guard<std::mutex> lock(mutex);
  regions[static_cast<const char*>(data)] = bytes ? bytes : 1;
  return {data, data, &unpin, c10::Device(c10::kCPU)};
}

at::Tensor tensor_over(c10::Storage storage, c10::DispatchKey key, const at::Tensor& like) {
  const c10::TensorImpl* from = like.unsafeGetTensorImpl();
  auto made = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), from->dtype());
  c10::TensorImpl* impl = made.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(from->sizes(), from->strides(), from->storage_offset());
  if (from->is_wrapped_number()) {
    impl->set_wrapped_number(true);
  }
  if (like.is_conj()) {
    made._set_conj(true);
  }
  if (like.is_neg()) {
    made._set_neg(true);
  }
  return made;
}

}  // namespace

c10::Allocator* card_allocator() {
  return &the_card_allocator;
}

c10::Allocator* pinned_allocator() {
  return &the_pinned_allocator();
}

bool is_pinned(const void* data) {
  auto& pinned = the_pinned_allocator();
  std::lock_guard<std::mutex> lock(pinned.mutex);
  auto after = pinned.regions.upper_bound(static_cast<const char*>(data));
  if (after == pinned.regions.begin()) {
    return false;
  }
  auto region = std::prev(after);
  return static_cast<const char*>(data) < region->first + region->second;
}

at::Tensor to_host(const at::Tensor& on_card) {
  return tensor_over(host_of(on_card.storage()), c10::DispatchKey::CPU, on_card);
}

at::Tensor to_card(const at::Tensor& on_host, c10::DeviceIndex card) {
  TORCH_CHECK(
      on_host.layout() == c10::kStrided && !on_host.is_quantized(),
      "the simulated cuda device carries strided tensors only; this operator made a ", on_host.toString());
  return tensor_over(card_storage(on_host.storage(), card), c10::DispatchKey::CUDA, on_host);
}

at::Tensor view_on_card(const at::Tensor& host_view, const at::Tensor& owner) {
  return tensor_over(owner.storage(), c10::DispatchKey::CUDA, host_view);
}

void follow(const at::Tensor& alias, const at::Tensor& on_card) {
  c10::StorageImpl* mine = on_card.storage().unsafeGetStorageImpl();
  const c10::Storage& host = alias.storage();
  if (mine->data_ptr().get() != host.data()) {
    mine->set_data_ptr(seal(host, on_card.device().index()));
    mine->set_nbytes(host.nbytes());
  }
  if (!on_card.sizes().equals(alias.sizes()) || !on_card.strides().equals(alias.strides())) {
    on_card.unsafeGetTensorImpl()->set_sizes_and_strides(alias.sizes(), alias.strides(), alias.storage_offset());
  }
}

namespace {
// Priority 1: the allocator in torch's table wins over one that torch may set by default (priority 0).
const bool registered = (c10::SetAllocator(c10::kCUDA, &the_card_allocator, 1), true);
#if FOREBAY_TORCH_AT_LEAST(2, 13)
const bool host_too = (at::setHostAllocator(c10::kCUDA, &the_pinned_allocator(), 1), true);
#endif
}  // namespace
}  // namespace forebay

extern "C" {

void forebay_set_memory_limit(int64_t bytes) {
  forebay::limit_bytes = bytes;
}

int64_t forebay_memory_limit() {
  return forebay::limit_bytes;
}

// held, peak, reserved, reserved peak, blocks, most blocks, blocks ever, bytes ever, refused
void forebay_memory(int card, int64_t* nine) {
  const auto& l = forebay::ledgers[card];
  const int64_t values[] = {l.held, l.peak, l.reserved, l.reserved_peak, l.blocks, l.blocks_peak, l.blocks_ever, l.bytes_ever,
                            l.refused};
  std::copy(std::begin(values), std::end(values), nine);
}

void forebay_reset_peak(int card) {
  forebay::reset_peak(forebay::ledgers[card]);
}

void forebay_reset_totals(int card) {
  forebay::reset_totals(forebay::ledgers[card]);
}

// Give a cuda storage another size, keeping what fits: torch's own call does that for compiled-in devices only.
// Returns 0, or 1 when the card is full.
int forebay_resize_storage(void* storage, int64_t bytes) {
  auto* impl = static_cast<c10::StorageImpl*>(storage);
  try {
    c10::Storage host = forebay::host_storage(static_cast<size_t>(bytes));
    const size_t kept = std::min<size_t>(impl->nbytes(), static_cast<size_t>(bytes));
    if (kept > 0) {
      std::memcpy(host.mutable_data(), impl->data(), kept);
    }
    impl->set_data_ptr_noswap(forebay::seal(std::move(host), impl->device().index()));
    impl->set_nbytes(static_cast<size_t>(bytes));
  } catch (const c10::OutOfMemoryError&) {
    return 1;
  }
  return 0;
}

// Let a cuda storage lie on the bytes of this host storage from now on; with `copy`, its own go there first. That is how processes
// share it: the host storage is in shared memory. Returns 0, or 1 when the card is full.
int forebay_rest_on(void* storage, void* host, int copy) {
  auto* mine = static_cast<c10::StorageImpl*>(storage);
  const c10::Storage shared(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(static_cast<c10::StorageImpl*>(host)));
  try {
    if (copy && mine->nbytes() > 0) {
      std::memcpy(shared.mutable_data(), mine->data(), std::min(mine->nbytes(), shared.nbytes()));
    }
    mine->set_data_ptr_noswap(forebay::seal(shared, mine->device().index()));
    mine->set_nbytes(shared.nbytes());
  } catch (const c10::OutOfMemoryError&) {
    return 1;
  }
  return 0;
}

void forebay_empty_cache() {
  forebay::empty_cache();
}

}  // extern "C"
