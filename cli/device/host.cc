// The host as a device: memory of its own, apart from the caller's, work done when it is asked for. Under
// AddressSanitizer every region is an allocation of its exact size, so that reads past its ends are found too.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "cli/device/device.h"

namespace dropkit::cli {
namespace {

class Again : public Replay {
 public:
  explicit Again(std::function<void()> work) : work_(std::move(work)) {}
  void Launch() override { work_(); }
  int kernels() const override { return -1; }
  int others() const override { return -1; }

 private:
  std::function<void()> work_;
};

class HostDevice : public Device {
 public:
  void* stream() override { return nullptr; }
  void* Allocate(size_t bytes) override {
    void* memory = nullptr;
    if (posix_memalign(&memory, 64, bytes) != 0 || memory == nullptr) throw std::bad_alloc();
    return memory;
  }
  void Free(void* memory) override { std::free(memory); }
  void ToDevice(void* device, const void* host, size_t bytes) override { Move(device, host, bytes); }
  void ToHost(void* host, const void* device, size_t bytes) override { Move(host, device, bytes); }
  void Copy(void* to, const void* from, size_t bytes) override { Move(to, from, bytes); }
  Status Synchronise() override { return Status(); }
  bool lost() const override { return false; }
  void Delay(Caches) override {}
  void Mark(int mark) override { marks_[mark] = std::chrono::steady_clock::now(); }
  double SecondsBetween(int from, int to) override {
    return std::chrono::duration<double>(marks_[to] - marks_[from]).count();
  }
  std::unique_ptr<Replay> Capture(const std::function<void()>& work) override { return std::make_unique<Again>(work); }
  size_t fence_bytes() const override {
#if defined(__SANITIZE_ADDRESS__)
    return 0;
#else
    return 256;
#endif
  }
  Facts facts() override { return {{"name", "the host"}}; }

 private:
  static void Move(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }
  std::chrono::steady_clock::time_point marks_[kMarks];
};

}  // namespace

std::unique_ptr<Device> MakeHostDevice() { return std::make_unique<HostDevice>(); }

}  // namespace dropkit::cli
