// A case of `dropkit bench` on a device: its tensors, mask, keys and scratch there, and the check of what it gives.
#ifndef DROPKIT_CLI_BENCH_DEVICE_SETUP_H_
#define DROPKIT_CLI_BENCH_DEVICE_SETUP_H_

#include <memory>
#include <string>
#include <vector>

#include "cli/bench/case.h"
#include "cli/device/device.h"

namespace dropkit::bench {

// Memory of a device, freed with this.
class DeviceMemory {
 public:
  DeviceMemory(cli::Device& device, size_t bytes) : device_(device), bytes_(bytes), memory_(device.Allocate(bytes)) {}
  ~DeviceMemory() { device_.Free(memory_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  void Write(const void* host) { device_.ToDevice(memory_, host, bytes_); }
  void Read(void* host) const { device_.ToHost(host, memory_, bytes_); }
  template <typename T>
  T* as() {
    return static_cast<T*>(memory_);
  }
  size_t bytes() const { return bytes_; }

 private:
  cli::Device& device_;
  size_t bytes_;
  void* memory_;
};

class DeviceSetup {
 public:
  // `backend` works on the device's memory. Throws std::bad_alloc, of the host's memory too, and std::runtime_error.
  DeviceSetup(const Case& c, cli::Device& device, const std::string& backend);
  // Makes one call, then captures one and replays it with another key and another p in the device's memory. What each
  // gives equals the backend cpu's, all of it to the bit, or std::runtime_error is thrown.
  void Check();
  // Puts one call on the stream, with p as a number; what draws has another key than the call before.
  void Run();
  // A call that reads key and p from the device's memory when it is launched.
  std::unique_ptr<cli::Replay> Capture();
  // y = x, all bytes.
  void Copy();
  // Whether the mask of Check() kept everything or nothing.
  bool is_trivial() const { return is_trivial_; }
  int64_t bytes() const { return bytes_; }

 private:
  struct Draw {
    uint64_t key[2];
    float p;
  };
  void Call(Probability p, Key key);
  void ResetX();
  void WriteDraw(const Draw& draw);
  void Compare(const Draw& draw, const char* how);
  void CompareMask(const Mask& expected, const char* how);
  [[noreturn]] void Differs(const char* how, const char* what) const;

  const Case& case_;
  cli::Device& device_;
  const std::string backend_;
  const int64_t bytes_;
  std::vector<uint8_t> host_x_;
  DeviceMemory x_, y_, keys_, p_;
  std::unique_ptr<DeviceMemory> bits_, kept_, threshold_, scratch_;
  View x_view_, y_view_;
  Mask mask_;
  Exec exec_;
  int64_t turn_ = 0;
  bool is_trivial_ = false;
};

}  // namespace dropkit::bench

#endif  // DROPKIT_CLI_BENCH_DEVICE_SETUP_H_
