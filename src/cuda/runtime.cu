// The CUDA runtime: is there a device, how large is it, and zeroed memory. Its library is linked statically, so a
// program starts where there is no driver, and hears of it here.
#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <string>

#include "runtime.h"

namespace dropkit::cuda {
namespace {

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string FindLack() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error == cudaSuccess && devices > 0) return "";
  cudaGetLastError();
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) return "no CUDA driver";
  if (error == cudaErrorInsufficientDriver) {
    return "the driver is for CUDA " + VersionText(driver) + ", and this build needs " + VersionText(CUDART_VERSION);
  }
  if (error == cudaSuccess || error == cudaErrorNoDevice) return "no CUDA device";
  return std::string("no CUDA device: ") + cudaGetErrorString(error);
}

// An attribute of each device, once it was asked for.
struct Remembered {
  static constexpr int kDevices = 64;
  std::atomic<int> value[kDevices] = {};
};

// Of the current device; 0 if it cannot be told.
int AttributeOf(cudaDeviceAttr attribute, Remembered* remembered) {
  int device = 0, value = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 0;
  const bool fits = device < Remembered::kDevices;
  if (fits && remembered->value[device] > 0) return remembered->value[device];
  if (cudaDeviceGetAttribute(&value, attribute, device) != cudaSuccess) return 0;
  if (fits) remembered->value[device] = value;
  return value;
}

}  // namespace

const char* Unavailable() {
  static const std::string lack = FindLack();
  return lack.empty() ? nullptr : lack.c_str();
}

int Multiprocessors() {
  static Remembered remembered;
  return std::max(1, AttributeOf(cudaDevAttrMultiProcessorCount, &remembered));
}

int64_t CacheBytes() {
  static Remembered remembered;
  return AttributeOf(cudaDevAttrL2CacheSize, &remembered);
}

Status Zero(void* memory, size_t bytes, void* stream) {
  if (bytes == 0) return Status();
  const cudaError_t error = cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream));
  if (error == cudaSuccess) return Status();
  cudaGetLastError();
  return Status::Unavailable(std::string("CUDA cannot zero memory: ") + cudaGetErrorString(error));
}

}  // namespace dropkit::cuda
