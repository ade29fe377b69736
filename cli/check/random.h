// A stream of numbers from one 64-bit number, the same on every machine (std's distributions are not): splitmix64, by
// Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
#ifndef DROPKIT_CLI_CHECK_RANDOM_H_
#define DROPKIT_CLI_CHECK_RANDOM_H_

#include <cstddef>
#include <cstdint>

namespace dropkit::check {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Word() {
    uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // From low to high, both included; the bias below 2^-40 does not matter here.
  int64_t Within(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(Word() % static_cast<uint64_t>(high - low + 1));
  }
  bool OneIn(int64_t number) { return Within(1, number) == 1; }
  template <typename T, size_t kCount>
  T Of(const T (&list)[kCount]) {
    return list[Within(0, kCount - 1)];
  }

 private:
  uint64_t state_;
};

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_RANDOM_H_
