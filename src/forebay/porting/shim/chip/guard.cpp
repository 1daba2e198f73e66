// The guard, streams, events, generators and pinned memory of "cuda", passed on to the chip's.
//
// Asked:  what must torch find registered for cuda, so that what it asks of cuda is answered by the chip?
// Answer: a device guard and a class named CUDAHooks (looked up once, at first use: so this library loads before torch does).
//         Each call goes to the chip's own; devices and streams change their type on the way, never their number.
// Limits: hasCUDA stays false, so that torch takes the chip for its accelerator.
#include "redirect.h"

#include <ATen/Context.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

namespace forebay {
namespace {

using c10::Device;
using c10::DeviceIndex;
using c10::Stream;

const c10::impl::DeviceGuardImplInterface& chips() {
  return *c10::impl::getDeviceGuardImpl(kChip);
}

Device on_cuda(Device device) {
  return Device(c10::kCUDA, device.index());
}
Stream on_cuda(Stream stream) {
  return Stream(Stream::UNSAFE, on_cuda(stream.device()), stream.id());
}
Stream on_chip(Stream stream) {
  return Stream(Stream::UNSAFE, forebay::on_chip(stream.device()), stream.id());
}
using forebay::on_chip;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override {
    return c10::kCUDA;
  }
  Device exchangeDevice(Device to) const override {
    return on_cuda(chips().exchangeDevice(on_chip(to)));
  }
  Device getDevice() const override {
    return on_cuda(chips().getDevice());
  }
  void setDevice(Device to) const override {
    chips().setDevice(on_chip(to));
  }
  void uncheckedSetDevice(Device to) const noexcept override {
    chips().uncheckedSetDevice(on_chip(to));
  }
  DeviceIndex deviceCount() const noexcept override {
    return c10::impl::hasDeviceGuardImpl(kChip) ? chips().deviceCount() : 0;
  }
  Stream getStream(Device on) const override {
    return on_cuda(chips().getStream(on_chip(on)));
  }
  Stream getDefaultStream(Device on) const override {
    return on_cuda(chips().getDefaultStream(on_chip(on)));
  }
  Stream getNewStream(Device on, int priority) const override {
    return on_cuda(chips().getNewStream(on_chip(on), priority));
  }
  Stream getStreamFromGlobalPool(Device on, bool high) const override {
    return on_cuda(chips().getStreamFromGlobalPool(on_chip(on), high));
  }
  Stream exchangeStream(Stream to) const override {
    return on_cuda(chips().exchangeStream(on_chip(to)));
  }
  bool queryStream(const Stream& stream) const override {
    return chips().queryStream(on_chip(stream));
  }
  void synchronizeStream(const Stream& stream) const override {
    chips().synchronizeStream(on_chip(stream));
  }
#if FOREBAY_TORCH_AT_LEAST(2, 6)
  void synchronizeDevice(const DeviceIndex index) const override {
    chips().synchronizeDevice(index);
  }
#endif
  void recordDataPtrOnStream(const c10::DataPtr& data, const Stream& stream) const override {
    chips().recordDataPtrOnStream(data, on_chip(stream));
  }
  void record(void** event, const Stream& stream, const DeviceIndex index, const c10::EventFlag flag) const override {
    chips().record(event, on_chip(stream), index, flag);
  }
  void block(void* event, const Stream& stream) const override {
    chips().block(event, on_chip(stream));
  }
  bool queryEvent(void* event) const override {
    return chips().queryEvent(event);
  }
  void synchronizeEvent(void* event) const override {
    chips().synchronizeEvent(event);
  }
  double elapsedTime(void* first, void* second, const DeviceIndex index) const override {
    return chips().elapsedTime(first, second, index);
  }
  void destroyEvent(void* event, const DeviceIndex index) const noexcept override {
    chips().destroyEvent(event, index);
  }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard);

const at::AcceleratorHooksInterface& chips_hooks() {
  return at::globalContext().getAcceleratorHooksInterface(kChip);
}

}  // namespace
}  // namespace forebay

namespace {
thread_local bool next_is_default = false;  // see forebay_next_generator_is_default
}

bool forebay::take_next_is_default() {
  return std::exchange(next_is_default, false);
}

namespace at {

struct CUDAHooks final : CUDAHooksInterface {  // the name is torch's
  explicit CUDAHooks(CUDAHooksArgs) {}

#if FOREBAY_TORCH_AT_LEAST(2, 6)
  void init() const override {}
  bool isBuilt() const override {
    return true;
  }
  bool isAvailable() const override {
    return deviceCount() > 0;
  }
  const Generator& getDefaultGenerator(DeviceIndex index = -1) const override {
    index = index < 0 ? current_device() : index;
    return forebay::stands_in() ? forebay::stand_in_generator(index) : forebay::chips_hooks().getDefaultGenerator(index);
  }
  Generator getNewGenerator(DeviceIndex index = -1) const override {
    index = index < 0 ? current_device() : index;
    if (forebay::take_next_is_default()) {
      return getDefaultGenerator(index);
    }
    return forebay::stands_in() ? forebay::new_stand_in_generator(index) : forebay::chips_hooks().getNewGenerator(index);
  }
#else
  void initCUDA() const override {}
  const Generator& getDefaultCUDAGenerator(DeviceIndex index = -1) const override {
    return at::globalContext().defaultGenerator(Device(forebay::kChip, index));
  }
#endif
  bool hasPrimaryContext(DeviceIndex index) const override {
    return forebay::chips_hooks().hasPrimaryContext(index);
  }
  bool isPinnedPtr(const void* data) const override {
    return forebay::chips_hooks().isPinnedPtr(data);
  }
  Allocator* getPinnedMemoryAllocator() const override {
    return forebay::chips_hooks().getPinnedMemoryAllocator();
  }
  Allocator* getCUDADeviceAllocator() const override {
    return c10::GetAllocator(forebay::kChip);
  }
  Device getDeviceFromPtr(void* data) const override {
    return Device(kCUDA, forebay::chips_hooks().getDeviceFromPtr(data).index());
  }
  DeviceIndex current_device() const override {
    return forebay::chips().getDevice().index();
  }
  DeviceIndex deviceCount() const override {
    return c10::impl::hasDeviceGuardImpl(forebay::kChip) ? forebay::chips().deviceCount() : 0;
  }
#if FOREBAY_TORCH_AT_LEAST(2, 8)
  int getNumGPUs() const override {
    return deviceCount();
  }
#endif
  void setCurrentDevice(DeviceIndex index) const override {
    forebay::chips().setDevice(Device(forebay::kChip, index));
  }
  DeviceIndex getCurrentDevice() const override {
    return current_device();
  }
  DeviceIndex exchangeDevice(DeviceIndex index) const override {
    return forebay::chips().exchangeDevice(Device(forebay::kChip, index)).index();
  }
  DeviceIndex maybeExchangeDevice(DeviceIndex index) const override {
    return index < 0 ? current_device() : exchangeDevice(index);
  }
  std::string showConfig() const override {
    return "cuda, passed on to the chip by Forebay";
  }
};

C10_REGISTER_CLASS_WITH_PRIORITY(CUDAHooksRegistry, CUDAHooks, c10::REGISTRY_PREFERRED, CUDAHooks)

}  // namespace at

extern "C" {

int forebay_chip_current() {
  return forebay::chips().getDevice().index();
}

// Returns the card that was current before, or -1 when the chip refused. The caller checked the range.
int forebay_chip_exchange(int index) {
  try {
    return forebay::chips().exchangeDevice(c10::Device(forebay::kChip, static_cast<c10::DeviceIndex>(index))).index();
  } catch (const std::exception&) {
    return -1;
  }
}

int64_t forebay_chip_stream(int index) {
  return forebay::chips().getStream(c10::Device(forebay::kChip, static_cast<c10::DeviceIndex>(index))).id();
}

void forebay_chip_set_stream(int index, int64_t id) {
  const c10::Device device(forebay::kChip, static_cast<c10::DeviceIndex>(index));
  forebay::chips().exchangeStream(c10::Stream(c10::Stream::UNSAFE, device, id));
}

// The next generator that this thread makes for cuda is the chip's default one: the way to have it as a Python object.
void forebay_next_generator_is_default() {
  next_is_default = true;
}

}  // extern "C"
