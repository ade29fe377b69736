// The few calls of the CUDA runtime that the backend makes beside launches. Nothing here waits for the device or
// allocates on it, and all of it may run while a stream is captured into a graph.
//
// runtime.cu has them; tests/emulated/runtime.cc has them for kernels that run on the host.
#ifndef DROPKIT_SRC_CUDA_RUNTIME_H_
#define DROPKIT_SRC_CUDA_RUNTIME_H_

#include <cstddef>

#include "dropkit/dropkit.h"

namespace dropkit::cuda {

// Null when there is a device to run on, else why there is none. The first call starts the driver, after which a forked
// child cannot use CUDA any more: it is for who asked for this backend or for the list of all.
const char* Unavailable();

// Of the current device; 1 if it cannot be told.
int Multiprocessors();

// Of the current device's second-level cache; 0 if it cannot be told.
int64_t CacheBytes();

// Zeroes memory of the device, after what is on the stream already.
Status Zero(void* memory, size_t bytes, void* stream);

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_RUNTIME_H_
