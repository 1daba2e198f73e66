// Streams of the simulated device, for C++: there is one order of work, so they are all the same.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <forebay/device.h>

namespace c10::cuda {

class CUDAStream {
 public:
  enum Unchecked { UNCHECKED };
  explicit CUDAStream(Stream stream) : stream_(stream) {}
  explicit CUDAStream(Unchecked, Stream stream) : stream_(stream) {}
  operator cudaStream_t() const { return nullptr; }
  operator Stream() const { return stream_; }
  cudaStream_t stream() const { return nullptr; }
  DeviceType device_type() const { return DeviceType::CUDA; }
  DeviceIndex device_index() const { return stream_.device_index(); }
  Device device() const { return stream_.device(); }
  StreamId id() const { return stream_.id(); }
  Stream unwrap() const { return stream_; }
  bool query() const { return true; }
  void synchronize() const {}
  int priority() const { return 0; }
  bool operator==(const CUDAStream& other) const { return stream_ == other.stream_; }
  bool operator!=(const CUDAStream& other) const { return !(*this == other); }

 private:
  Stream stream_;
};

inline DeviceIndex current_device() { return impl::VirtualGuardImpl(DeviceType::CUDA).getDevice().index(); }
inline DeviceIndex device_count() { return impl::VirtualGuardImpl(DeviceType::CUDA).deviceCount(); }
inline void set_device(DeviceIndex device) { impl::VirtualGuardImpl(DeviceType::CUDA).setDevice(Device(DeviceType::CUDA, device)); }
inline void device_synchronize() {}
inline CUDAStream getCurrentCUDAStream(DeviceIndex device = -1) {
  return CUDAStream(impl::VirtualGuardImpl(DeviceType::CUDA).getStream(Device(DeviceType::CUDA, device < 0 ? current_device() : device)));
}
inline CUDAStream getDefaultCUDAStream(DeviceIndex device = -1) {
  return CUDAStream(Stream(Stream::DEFAULT, Device(DeviceType::CUDA, device < 0 ? current_device() : device)));
}
inline CUDAStream getStreamFromPool(bool = false, DeviceIndex device = -1) { return getCurrentCUDAStream(device); }
inline void setCurrentCUDAStream(CUDAStream stream) { impl::VirtualGuardImpl(DeviceType::CUDA).exchangeStream(stream.unwrap()); }

}  // namespace c10::cuda

namespace at::cuda {
using c10::cuda::CUDAStream;
using c10::cuda::device_count;
using c10::cuda::getCurrentCUDAStream;
using c10::cuda::getDefaultCUDAStream;
using c10::cuda::getStreamFromPool;
using c10::cuda::setCurrentCUDAStream;
}  // namespace at::cuda
