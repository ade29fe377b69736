// Memory between two fences of known bytes: what is written past either end is found after the call. Under
// AddressSanitizer the fences are poisoned as well, so that reading them is found too.
#ifndef DROPKIT_CLI_CHECK_FENCED_H_
#define DROPKIT_CLI_CHECK_FENCED_H_

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#define ASAN_UNPOISON_MEMORY_REGION(address, bytes) ((void)(address), (void)(bytes))
#endif

namespace dropkit::check {

class Fenced {
 public:
  // The first byte's address is a multiple of 64; the bytes are those of the fences.
  explicit Fenced(size_t bytes = 0) : bytes_(bytes), memory_(Allocate(Whole())) {
    std::fill_n(memory_.get(), Whole(), kFence);
    ASAN_POISON_MEMORY_REGION(memory_.get(), kFenceBytes);
    ASAN_POISON_MEMORY_REGION(data() + bytes_, Whole() - kFenceBytes - bytes_);
  }
  ~Fenced() { Unlock(); }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;

  uint8_t* data() { return memory_.get() + kFenceBytes; }
  const uint8_t* data() const { return memory_.get() + kFenceBytes; }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data());
  }
  size_t bytes() const { return bytes_; }

  // Whether both fences hold. Opens them: nothing is found by AddressSanitizer from here on.
  bool Intact() {
    Unlock();
    const auto is_fence = [](uint8_t byte) { return byte == kFence; };
    const uint8_t* begin = memory_.get();
    return std::all_of(begin, begin + kFenceBytes, is_fence) &&
           std::all_of(begin + kFenceBytes + bytes_, begin + Whole(), is_fence);
  }

 private:
  static constexpr uint8_t kFence = 0xA5;
  static constexpr size_t kFenceBytes = 128;  // twice the widest vector

  struct Free {
    void operator()(uint8_t* memory) const { std::free(memory); }
  };

  size_t Whole() const { return (kFenceBytes + bytes_ + kFenceBytes + 63) / 64 * 64; }
  static uint8_t* Allocate(size_t bytes) {
    void* memory = std::aligned_alloc(64, bytes);
    if (!memory) throw std::bad_alloc();
    return static_cast<uint8_t*>(memory);
  }
  void Unlock() { ASAN_UNPOISON_MEMORY_REGION(memory_.get(), Whole()); }

  size_t bytes_;
  std::unique_ptr<uint8_t, Free> memory_;
};

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_FENCED_H_
