// What a kernel may assume of the machine under it. nvcc gives it the card; with DROPKIT_EMULATED_GRID the same source
// is C++ for the host and tests/emulated/ plays the grid, so that kernels are tested where there is no card.
//
// Kernels keep to: __global__, DROPKIT_DEVICE, __launch_bounds__, __shared__ (static arrays of plain types), the .x of
// threadIdx, blockIdx, blockDim and gridDim, __syncthreads, __syncwarp, __shfl_sync, __shfl_xor_sync, __shfl_down_sync,
// __ballot_sync, atomicAnd, atomicOr and atomicAdd, __threadfence, __popc, __popcll, __ffs, __ffsll, uint4. A
// block is any multiple of 32 threads, so loops stride by blockDim.x. A kernel that hands on the address of a parameter
// takes it as __grid_constant__: else every thread makes a copy of it.
#ifndef DROPKIT_SRC_CUDA_GRID_H_
#define DROPKIT_SRC_CUDA_GRID_H_

#ifdef DROPKIT_EMULATED_GRID

#include "emulated_grid.h"

#else

#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>
#include <utility>

#include "dropkit/dropkit.h"

#define DROPKIT_DEVICE __device__ __forceinline__
// Large, and of no loop over elements: compiled once for all kernels of a source, and with registers of its own.
#define DROPKIT_DEVICE_CALL inline __device__ __noinline__

// Before a loop over an array that must stay in registers.
#define DROPKIT_UNROLL _Pragma("unroll")

// What one request fetches into the second-level cache, at most: any range where the card has the instruction for it,
// else a sector.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define DROPKIT_FETCH_BYTES 65536
#else
#define DROPKIT_FETCH_BYTES 32
#endif

// Between these, tests/test_ptx.py requires every access to global memory to be 128 bits wide. "memory" keeps accesses
// from moving over a mark.
#define DROPKIT_MAIN_LOOP_BEGIN asm volatile("// dropkit main loop begin" ::: "memory")
#define DROPKIT_MAIN_LOOP_END asm volatile("// dropkit main loop end" ::: "memory")

namespace dropkit::cuda {

// Requests `bytes` from an address on, 1 to DROPKIT_FETCH_BYTES and all of them valid. No waiting. Where a range may be
// large, those of its bytes that fill no 16 of memory are left out.
DROPKIT_DEVICE void Fetch(const char* address, int64_t bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address), first = (begin + 15) / 16 * 16;
  const uintptr_t end = (begin + static_cast<uintptr_t>(bytes)) / 16 * 16;
  if (first >= end) return;
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;"
               :
               : "l"(__cvta_generic_to_global(reinterpret_cast<const void*>(first))),
                 "r"(static_cast<uint32_t>(end - first)));
#else
  asm volatile("prefetch.global.L2 [%0];" : : "l"(__cvta_generic_to_global(address)));
#endif
}

// Runs kernel(arguments...) on `blocks` blocks of `threads` threads, after what is on the stream (a cudaStream_t)
// already. Returns before it ran; no blocks are no launch. The error is the launch's, not one that was left behind by
// others.
template <typename... Parameters, typename... Arguments>
Status Launch(void (*kernel)(Parameters...), int64_t blocks, int threads, void* stream, Arguments&&... arguments) {
  static_assert((sizeof(Parameters) + ... + 0) <= 4096 && (std::is_trivially_copyable_v<Parameters> && ...));
  if (blocks == 0) return Status();
  if (blocks < 0 || blocks > INT32_MAX) return Status::Internal("a grid of " + std::to_string(blocks) + " blocks");
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.stream = static_cast<cudaStream_t>(stream);
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...);
  if (error == cudaSuccess) return Status();
  cudaGetLastError();  // it is told here, so nobody else should be told it again
  return Status::Unavailable(std::string("CUDA cannot run a kernel: ") + cudaGetErrorString(error));
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_EMULATED_GRID

#endif  // DROPKIT_SRC_CUDA_GRID_H_
