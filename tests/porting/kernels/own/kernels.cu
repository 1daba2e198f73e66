// Kernels of our own, one for each thing that a card does and a host doesn't. Called from Python with plain pointers.
#include <cooperative_groups.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "shared.cuh"

namespace cg = cooperative_groups;

// Sum of each block: shared memory, and a barrier in each step of the tree.
__global__ void sum_blocks(const float* __restrict__ x, float* out, int n) {
  __shared__ float part[256];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  part[threadIdx.x] = i < n ? x[i] : 0.0f;
  __syncthreads();
  for (int step = blockDim.x / 2; step > 0; step >>= 1) {
    if (threadIdx.x < step) part[threadIdx.x] += part[threadIdx.x + step];
    __syncthreads();
  }
  if (threadIdx.x == 0) atomicAdd(out, part[0]);
}

// A row for each warp: shuffles only.
__global__ void softmax_rows(const float* x, float* y, int rows, int columns) {
  const int row = (blockIdx.x * blockDim.x + threadIdx.x) / warpSize, lane = threadIdx.x % warpSize;
  if (row >= rows) return;
  float most = -INFINITY;
  for (int c = lane; c < columns; c += warpSize) most = max(most, x[row * columns + c]);
  for (int step = 16; step; step /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, step));
  float sum = 0;
  for (int c = lane; c < columns; c += warpSize) sum += __expf(x[row * columns + c] - most);
  for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(0xffffffff, sum, step);
  for (int c = lane; c < columns; c += warpSize) y[row * columns + c] = __fdividef(__expf(x[row * columns + c] - most), sum);
}

// Counts in dynamic shared memory, then in global memory: two kinds of atomics.
__global__ void histogram(const int* x, int* counts, int n, int bins) {
  extern __shared__ int mine[];
  for (int b = threadIdx.x; b < bins; b += blockDim.x) mine[b] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[x[i]], 1);
  __syncthreads();
  for (int b = threadIdx.x; b < bins; b += blockDim.x) atomicAdd(counts + b, mine[b]);
}

// A tile in shared memory, read by columns.
template <typename T, int TILE>
__global__ void __launch_bounds__(TILE* TILE) transpose(const T* x, T* y, int rows, int columns) {
  __shared__ T tile[TILE][TILE + 1];
  int c = blockIdx.x * TILE + threadIdx.x, r = blockIdx.y * TILE + threadIdx.y;
  if (r < rows && c < columns) tile[threadIdx.y][threadIdx.x] = x[r * columns + c];
  __syncthreads();
  c = blockIdx.y * TILE + threadIdx.x, r = blockIdx.x * TILE + threadIdx.y;
  if (r < columns && c < rows) y[r * rows + c] = tile[threadIdx.x][threadIdx.y];
}

__constant__ float weights[3];

// Neighbours from global memory, weights from constant memory.
__global__ void stencil(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = weights[0] * (i ? x[i - 1] : 0) + weights[1] * x[i] + weights[2] * (i + 1 < n ? x[i + 1] : 0);
}

// Running sum of a block: shuffles inside a warp, shared memory between warps.
__global__ void scan(const float* x, float* y, int n) {
  __shared__ float of_warps[32];
  const unsigned lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  float sum = threadIdx.x < n ? x[threadIdx.x] : 0;
  for (unsigned step = 1; step < 32; step *= 2) {
    const float left = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += left;
  }
  if (lane == 31) of_warps[warp] = sum;
  __syncthreads();
  for (unsigned before = 0; before < warp; ++before) sum += of_warps[before];
  if (threadIdx.x < n) y[threadIdx.x] = sum;
}

// Products of tiles.
__global__ void matmul(const float* a, const float* b, float* c, int n) {
  __shared__ float left[16][16], right[16][16];
  const int row = blockIdx.y * 16 + threadIdx.y, column = blockIdx.x * 16 + threadIdx.x;
  float sum = 0;
  for (int tile = 0; tile < n; tile += 16) {
    left[threadIdx.y][threadIdx.x] = a[row * n + tile + threadIdx.x];
    right[threadIdx.y][threadIdx.x] = b[(tile + threadIdx.y) * n + column];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 16; ++k) sum += left[threadIdx.y][k] * right[k][threadIdx.x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

__global__ void half_axpy(const __half* x, __half* y, float a, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = __hfma(__float2half(a), x[i], y[i]);
}

// Who is with me in a branch; and tiles of eight.
__global__ void groups(int* out) {
  if (threadIdx.x % 3 == 0) {
    out[threadIdx.x] = __popc(__activemask());
  } else {
    out[threadIdx.x] = -static_cast<int>(cg::coalesced_threads().size());
  }
  cg::thread_block_tile<8> tile = cg::tiled_partition<8>(cg::this_thread_block());
  out[64 + threadIdx.x] = cg::reduce(tile, static_cast<int>(threadIdx.x), cg::plus<int>());
  out[128 + threadIdx.x] = __syncthreads_count(threadIdx.x < 10);
  out[192 + threadIdx.x] = __ballot_sync(0xffffffff, threadIdx.x % 2);
}

// A lock: the one who waits must let the holder go on.
__global__ void locked(int* lock, int* count) {
  while (atomicCAS(lock, 0, 1) != 0) {
  }
  *count += 1;
  __threadfence();
  atomicExch(lock, 0);
}

// One warp that trusts its lanes to do each statement together: no barrier anywhere.
__global__ void mirror(const float* x, float* y, int n) {
  __shared__ float all[32];
  for (int start = 0; start < n; start += 32) {
    if (start + threadIdx.x < n) all[threadIdx.x] = x[start + threadIdx.x];
    else all[threadIdx.x] = 0;
    y[start + threadIdx.x] = all[31 - threadIdx.x];
  }
}

__global__ void waits_for_ever() {
  if (threadIdx.x < 3) __syncthreads();
  else __shfl_sync(0xffffffff, 1, 0);
}

#define LAUNCH(kernel, blocks, threads, ...) kernel<<<(blocks), (threads)>>>(__VA_ARGS__)

extern "C" {
void run_sum(const float* x, float* out, int n) { LAUNCH(sum_blocks, (n + 255) / 256, 256, x, out, n); }
void run_softmax(const float* x, float* y, int rows, int columns) { softmax_rows<<<(rows + 3) / 4, 128>>>(x, y, rows, columns); }
void run_histogram(const int* x, int* counts, int n, int bins) { histogram<<<4, 64, bins * sizeof(int), 0>>>(x, counts, n, bins); }
void run_transpose(const float* x, float* y, int rows, int columns) {
  constexpr int TILE = 16;
  const dim3 grid((columns + TILE - 1) / TILE, (rows + TILE - 1) / TILE);
  transpose<float, (TILE > 8 ? TILE : 8)>
      <<<grid, dim3(TILE, TILE),
         0, cudaStreamDefault>>>(
          x, y, rows, columns);
}
void run_stencil(const float* x, float* y, int n) {
  const float host[3] = {0.25f, 0.5f, 0.25f};
  cudaMemcpyToSymbol(weights, host, sizeof host);
  stencil<<<dim3((n + 63) / 64), dim3(64)>>>(x, y, n);
}
void run_scan(const float* x, float* y, int n) { scan<<<1, 512>>>(x, y, n); }
void run_matmul(const float* a, const float* b, float* c, int n) { matmul<<<dim3(n / 16, n / 16), dim3(16, 16)>>>(a, b, c, n); }
void run_half(const void* x, void* y, float a, int n) {
  half_axpy<<<(n + 127) / 128, 128>>>(static_cast<const __half*>(x), static_cast<__half*>(y), a, n);
}
void run_mirror(const float* x, float* y, int n) { mirror<<<1, 32>>>(x, y, n); }
void run_groups(int* out) { groups<<<1, 64>>>(out); }
void run_locked(int* lock, int* count) { locked<<<8, 32>>>(lock, count); }
void run_from_header(float* x, int n) { scale_all(x, 3.0f, n); }
int run_too_large() {
  groups<<<1, 2048>>>(nullptr);
  return cudaGetLastError();
}
int run_deadlock(char* words, int size) {
  try {
    waits_for_ever<<<2, 40>>>();
  } catch (const std::exception& error) {
    snprintf(words, size, "%s", error.what());
  }
  return cudaGetLastError();
}
}
