// src/cuda/runtime.h where the grid is emulated: device memory is host memory and every stream runs at once.
#include "cuda/runtime.h"

#include <cstring>

#include "emulated_grid.h"

namespace dropkit::cuda {

const char* Unavailable() { return nullptr; }

int Multiprocessors() { return emulated::GetMultiprocessors(); }

int64_t CacheBytes() { return 1 << 12; }

Status Zero(void* memory, size_t bytes, void*) {
  emulated::RecordZeroing();
  if (bytes > 0) std::memset(memory, 0, bytes);
  return Status();
}

}  // namespace dropkit::cuda
