// A device as `check` and `bench` use it: memory, copies, marks in time and captured work, on one stream.
// The CUDA device is in cuda.cc, or off.cc in a build without CUDA; host.cc has one that is the host, for backends that
// are tested there. A device is used by one thread.
#ifndef DROPKIT_CLI_DEVICE_DEVICE_H_
#define DROPKIT_CLI_DEVICE_DEVICE_H_

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::cli {

// Work that was captured once; Launch() puts it on the stream again.
class Replay {
 public:
  virtual ~Replay() = default;
  virtual void Launch() = 0;
  virtual int kernels() const = 0;  // launches of kernels in it, -1 where nobody counts
  virtual int others() const = 0;   // copies and fills in it
};

// What fails throws std::runtime_error, memory that cannot be had std::bad_alloc, unless a Status is returned.
class Device {
 public:
  virtual ~Device() = default;
  virtual void* stream() = 0;
  // At an address that 64 divides; of 0 bytes too.
  virtual void* Allocate(size_t bytes) = 0;
  virtual void Free(void* memory) = 0;
  // Both in the stream's order, and done when they return.
  virtual void ToDevice(void* device, const void* host, size_t bytes) = 0;
  virtual void ToHost(void* host, const void* device, size_t bytes) = 0;
  // From device to device on the stream.
  virtual void Copy(void* to, const void* from, size_t bytes) = 0;
  // Waits for the stream. An error is the first of the work since the last call; most leave a device unusable.
  virtual Status Synchronise() = 0;
  // Whether an error left the device unusable for the rest of the program.
  virtual bool lost() const = 0;

  // Keeps the stream busy for long enough to enqueue a call behind it; kEvicted leaves nothing else in the caches.
  enum class Caches { kAsTheyAre, kEvicted };
  virtual void Delay(Caches caches) = 0;
  // Marks a moment of the stream, 0 to kMarks - 1, and tells the seconds between two after Synchronise().
  static constexpr int kMarks = 4;
  virtual void Mark(int mark) = 0;
  virtual double SecondsBetween(int from, int to) = 0;
  // Runs `work`, which launches on the stream, without doing it, and keeps it.
  virtual std::unique_ptr<Replay> Capture(const std::function<void()>& work) = 0;

  // Bytes beside each region where a mirror puts known values: 0 where a tool watches the ends of allocations.
  virtual size_t fence_bytes() const = 0;
  // Name, driver, clocks: as many as the device tells, in the order to print them.
  using Facts = std::vector<std::pair<std::string, std::string>>;
  virtual Facts facts() = 0;
};

// The first CUDA device, for the whole program; null where the backend cuda cannot run.
Device* CudaDevice();
// Why CudaDevice() is null.
std::string WhyNoCudaDevice();

// Memory of the host as a device.
std::unique_ptr<Device> MakeHostDevice();

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_DEVICE_DEVICE_H_
