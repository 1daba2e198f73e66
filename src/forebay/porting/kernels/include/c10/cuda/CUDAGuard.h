// Guards of the simulated device: torch's own, which ask whatever guard is registered for cuda.
#pragma once

#include <c10/core/DeviceGuard.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDAStream.h>

namespace c10::cuda {

struct CUDAGuard {
  explicit CUDAGuard(DeviceIndex device) : guard_(Device(DeviceType::CUDA, device)) {}
  explicit CUDAGuard(Device device) : guard_(device) {}
  void set_device(Device device) { guard_.reset_device(device); }
  void reset_device(Device device) { guard_.reset_device(device); }
  void set_index(DeviceIndex device) { guard_.set_index(device); }
  Device original_device() const { return guard_.original_device(); }
  Device current_device() const { return guard_.current_device(); }

 private:
  DeviceGuard guard_;
};

struct OptionalCUDAGuard {
  OptionalCUDAGuard() = default;
  explicit OptionalCUDAGuard(std::optional<Device> device) : guard_(device) {}
  explicit OptionalCUDAGuard(DeviceIndex device) : guard_(Device(DeviceType::CUDA, device)) {}
  void set_device(Device device) { guard_.reset_device(device); }
  void reset_device(Device device) { guard_.reset_device(device); }
  void set_index(DeviceIndex device) { guard_.reset_device(Device(DeviceType::CUDA, device)); }

 private:
  OptionalDeviceGuard guard_;
};

struct CUDAStreamGuard {
  explicit CUDAStreamGuard(Stream stream) : guard_(stream) {}

 private:
  StreamGuard guard_;
};

}  // namespace c10::cuda

namespace at::cuda {
using c10::cuda::CUDAGuard;
using c10::cuda::CUDAStreamGuard;
using c10::cuda::OptionalCUDAGuard;
}  // namespace at::cuda
