// cooperative_groups: blocks, tiles of a warp, and the lanes that are together. No grid, no cluster.
#pragma once

#include <forebay/device.h>

#ifdef FOREBAY_CUDA_SOURCE
namespace cooperative_groups FOREBAY_HIDDEN {

class thread_block {
 public:
  static void sync() { __syncthreads(); }
  static unsigned thread_rank() { return forebay_cuda::the_block->thread(); }
  static unsigned size() { return blockDim.x * blockDim.y * blockDim.z; }
  static unsigned num_threads() { return size(); }
  static uint3 group_index() { return blockIdx; }
  static uint3 thread_index() { return threadIdx; }
  static dim3 group_dim() { return blockDim; }
  static dim3 dim_threads() { return blockDim; }
};
inline thread_block this_thread_block() { return {}; }

// Lanes of one warp, by their mask.
class coalesced_group {
 public:
  explicit coalesced_group(unsigned mask) : mask_(mask) {}
  void sync() const { __syncwarp(mask_); }
  unsigned size() const { return static_cast<unsigned>(__popc(mask_)); }
  unsigned num_threads() const { return size(); }
  unsigned thread_rank() const { return static_cast<unsigned>(__popc(mask_ & ((1u << forebay_cuda::lane()) - 1))); }
  int any(int vote) const { return __any_sync(mask_, vote); }
  int all(int vote) const { return __all_sync(mask_, vote); }
  unsigned ballot(int vote) const { return pack(__ballot_sync(mask_, vote)); }
  template <class T> T shfl(T value, unsigned rank) const { return forebay_cuda::shuffle(mask_, value, nth(rank)); }
  template <class T> T shfl_down(T value, unsigned delta) const {
    const unsigned to = thread_rank() + delta;
    return forebay_cuda::shuffle(mask_, value, nth(to < size() ? to : thread_rank()));
  }
  template <class T> T shfl_up(T value, unsigned delta) const {
    const unsigned me = thread_rank();
    return forebay_cuda::shuffle(mask_, value, nth(me < delta ? me : me - delta));
  }
  template <class T> T shfl_xor(T value, unsigned lanes) const {
    const unsigned to = thread_rank() ^ lanes;
    return forebay_cuda::shuffle(mask_, value, nth(to < size() ? to : thread_rank()));
  }
  unsigned mask() const { return mask_; }

 private:
  int nth(unsigned rank) const {
    unsigned left = mask_;
    while (rank--) left &= left - 1;
    return __builtin_ctz(left);
  }
  unsigned pack(unsigned bits) const {
    unsigned packed = 0, place = 0;
    for (unsigned i = 0; i < 32; ++i) {
      if (mask_ >> i & 1) packed |= (bits >> i & 1u) << place++;
    }
    return packed;
  }
  unsigned mask_;
};

template <unsigned Size, class Parent = void>
class thread_block_tile : public coalesced_group {
 public:
  static_assert(Size && Size <= 32 && (Size & (Size - 1)) == 0, "a tile has 1, 2, 4, 8, 16 or 32 threads");
  thread_block_tile() : coalesced_group((Size == 32 ? ~0u : (1u << Size % 32) - 1) << (forebay_cuda::lane() / Size * Size)) {}
  template <class Other> thread_block_tile(const thread_block_tile<Size, Other>& other) : coalesced_group(other.mask()) {}
  static unsigned meta_group_rank() { return thread_block::thread_rank() / Size; }
  static unsigned meta_group_size() { return (thread_block::size() + Size - 1) / Size; }
};
template <unsigned Size, class Group>
thread_block_tile<Size, Group> tiled_partition(const Group&) { return {}; }
inline coalesced_group coalesced_of(unsigned mask) { return coalesced_group(mask); }
#define coalesced_threads() coalesced_of(__activemask())

template <class T> struct plus { T operator()(T a, T b) const { return a + b; } };
template <class T> struct less { T operator()(T a, T b) const { return b < a ? b : a; } };
template <class T> struct greater { T operator()(T a, T b) const { return a < b ? b : a; } };
template <class Group, class T, class Fold> T reduce(const Group& group, T value, Fold fold) {
  return forebay_cuda::reduce(group.mask(), value, fold);
}
template <class Group> void sync(const Group& group) { group.sync(); }

}  // namespace cooperative_groups
#endif
