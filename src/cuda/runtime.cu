// The CUDA runtime: is there a device, how large is it, and zeroed memory. Its library is linked statically, so a
// program starts where there is no driver, and hears of it here.
#include <cuda_runtime.h>

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

}  // namespace

const char* Unavailable() {
  static const std::string lack = FindLack();
  return lack.empty() ? nullptr : lack.c_str();
}

int Multiprocessors() {
  constexpr int kCachedDevices = 64;
  static std::atomic<int> cached[kCachedDevices];
  int device = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return 1;
  if (device < kCachedDevices && cached[device] > 0) return cached[device];
  int number = 0;
  if (cudaDeviceGetAttribute(&number, cudaDevAttrMultiProcessorCount, device) != cudaSuccess) return 1;
  if (device < kCachedDevices) cached[device] = number;
  return number;
}

Status Zero(void* memory, size_t bytes, void* stream) {
  if (bytes == 0) return Status();
  const cudaError_t error = cudaMemsetAsync(memory, 0, bytes, static_cast<cudaStream_t>(stream));
  if (error == cudaSuccess) return Status();
  cudaGetLastError();
  return Status::Unavailable(std::string("CUDA cannot zero memory: ") + cudaGetErrorString(error));
}

}  // namespace dropkit::cuda
