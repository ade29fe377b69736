// The arithmetic that results are defined in: round to nearest even, subnormals kept. A program may have changed it for
// the calling thread alone (a library linked with -ffast-math, torch.set_flush_denormal), and y must not depend on
// which thread ran what.
#ifndef DROPKIT_SRC_ARITHMETIC_H_
#define DROPKIT_SRC_ARITHMETIC_H_

#include <cstdint>

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

namespace dropkit {

// For as long as it lives, on this thread. A read and a comparison where nothing was changed.
class PlainArithmetic {
 public:
  PlainArithmetic() : before_(Read()) {
    if ((before_ & kRules) != 0) Write(before_ & ~kRules);
  }
  ~PlainArithmetic() {
    if ((before_ & kRules) != 0) Write(before_);
  }
  PlainArithmetic(const PlainArithmetic&) = delete;
  PlainArithmetic& operator=(const PlainArithmetic&) = delete;

 private:
#if defined(__SSE2__)
  static constexpr uint64_t kRules = 0x8000 | 0x6000 | 0x0040;  // flush results, rounding, flush operands
  static uint64_t Read() { return _mm_getcsr(); }
  static void Write(uint64_t value) { _mm_setcsr(static_cast<unsigned>(value)); }
#elif defined(__aarch64__)
  static constexpr uint64_t kRules = uint64_t{1} << 24 | uint64_t{3} << 22 | uint64_t{1} << 19;  // FZ, RMode, FZ16
  static uint64_t Read() {
    uint64_t value = 0;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void Write(uint64_t value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
#else
  static constexpr uint64_t kRules = 0;
  static uint64_t Read() { return 0; }
  static void Write(uint64_t) {}
#endif

  const uint64_t before_;
};

}  // namespace dropkit

#endif  // DROPKIT_SRC_ARITHMETIC_H_
