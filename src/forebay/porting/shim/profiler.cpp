// What torch's profiler asks of CUDA.
//
// Asked:  where does "CUDA time" in a profile come from, without a GPU?
// Answer: torch brackets each operator with two CUDA events and asks for the time between them (its way without CUPTI). The events
//         are moments of the host's clock, and the work is done between them. NVTX ranges are counted by depth and go nowhere.
// Limits: so an operator's time on the card is its time on the host, its children's included; there are no kernels to name.
#include <c10/core/Device.h>
#include <torch/csrc/profiler/stubs/base.h>

#include <chrono>
#include <functional>
#include <memory>

#include "shim.h"

namespace {

using torch::profiler::impl::ProfilerStubs;
using torch::profiler::impl::ProfilerVoidEventStub;

struct HostClock final : ProfilerStubs {
  void record(c10::DeviceIndex* device, ProfilerVoidEventStub* event, int64_t* cpu_nanoseconds) const override {
    const int64_t now = std::chrono::steady_clock::now().time_since_epoch().count();
    if (device != nullptr) {
      *device = forebay::current_card();
    }
    *event = std::make_shared<int64_t>(now);
    if (cpu_nanoseconds != nullptr) {
      *cpu_nanoseconds = now;
    }
  }
  float elapsed(const ProfilerVoidEventStub* first, const ProfilerVoidEventStub* second) const override {
    const int64_t nanoseconds = *static_cast<const int64_t*>(second->get()) - *static_cast<const int64_t*>(first->get());
    return static_cast<float>(nanoseconds) / 1e3f;  // torch reads microseconds
  }
  void mark(const char*) const override {}
  void rangePush(const char*) const override {}
  void rangePop() const override {}
  bool enabled() const override {
    return true;
  }
  void onEachDevice(std::function<void(int)> act) const override {
    for (int card = 0; card < forebay::cards(); ++card) {
      act(card);
    }
  }
  void synchronize() const override {}
};

const bool registered = [] {
  static HostClock clock;
  torch::profiler::impl::registerCUDAMethods(&clock);
  return true;
}();

}  // namespace
