// Events of the simulated device, for C++.
#pragma once

#include <c10/cuda/CUDAStream.h>

namespace at::cuda {
struct CUDAEvent {
  explicit CUDAEvent(unsigned = 0) {}
  bool isCreated() const { return recorded_; }
  bool query() const { return true; }
  void record() { record(getCurrentCUDAStream()); }
  void recordOnce(const CUDAStream& stream) { if (!recorded_) record(stream); }
  void record(const CUDAStream&) {
    recorded_ = true;
    event_.at = std::chrono::steady_clock::now();
  }
  void block(const CUDAStream&) {}
  void synchronize() const {}
  float elapsed_time(const CUDAEvent& end) const {
    return std::chrono::duration<float, std::milli>(end.event_.at - event_.at).count();
  }

 private:
  forebay_event event_;
  bool recorded_ = false;
};
}  // namespace at::cuda
