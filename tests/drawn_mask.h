// What the statistical tests share: a mask drawn into memory of its own, its bits, and standard scores.
//
// Masks are drawn by the public functions on the default backend; seeds are pinned, so a test passes always or never,
// and its bounds only say how far from the exact law a pinned draw may be. A refused draw throws std::runtime_error,
// which GoogleTest reports as a failure. Equality with the definition, bit for bit, is the golden tests' matter.
#ifndef DROPKIT_TESTS_DRAWN_MASK_H_
#define DROPKIT_TESTS_DRAWN_MASK_H_

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::statistics {

using SeedAndOffset = std::array<uint64_t, 2>;

inline constexpr double kSigmas = 4.0;     // bound of a single score
inline constexpr double kMaxSigmas = 5.5;  // bound of the largest of up to 10^5 scores: missed by chance once in 250

inline void Require(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

inline Spec SpecOf(const std::string& line) {
  Spec spec;
  Require(ParseSpec(line, &spec));
  return spec;
}

inline View ShapeOf(int64_t samples, int64_t channels, const std::vector<int64_t>& sizes, int64_t first_sample = 0) {
  return DenseView(nullptr, DType::kF32, samples, channels, sizes, Layout::kChannelsFirst, first_sample);
}

class DrawnMask {
 public:
  DrawnMask(const std::string& line, float p, const SeedAndOffset& key, const View& shape) {
    const Spec spec = SpecOf(line);
    Require(storage_.Reserve(spec, shape));
    Require(Sample(spec, p, key.data(), shape, Exec(), &storage_.mask));
    Require(Rates(spec, p, shape, &rates_));
  }
  DrawnMask(const DrawnMask&) = delete;

  const Mask& mask() const { return storage_.mask; }
  const RateInfo& rates() const { return rates_; }
  int64_t size() const { return mask().num_bits; }

  // 64 bits from `index` on, 1 = kept; 0 past the end.
  uint64_t Word(int64_t index) const {
    const int64_t word = index / 64, shift = index % 64;
    uint64_t bits = mask().bits[word] >> shift;
    if (shift != 0 && word + 1 < mask().num_words()) bits |= mask().bits[word + 1] << (64 - shift);
    return bits;
  }
  int64_t CountKept(int64_t begin, int64_t end) const {
    int64_t count = 0;
    for (int64_t i = begin; i < end; i += 64) {
      const uint64_t inside = end - i >= 64 ? ~uint64_t{0} : (uint64_t{1} << (end - i)) - 1;
      count += std::popcount(Word(i) & inside);
    }
    return count;
  }
  int64_t CountDropped(int64_t begin, int64_t end) const { return end - begin - CountKept(begin, end); }

 private:
  MaskStorage storage_;
  RateInfo rates_;
};

// Score of a count of successes among `trials` independent ones of probability `p`.
inline double BinomialScore(double count, double trials, double p) {
  return (count - trials * p) / std::sqrt(trials * p * (1.0 - p));
}

// Score of a chi-square value, by the cube root of Wilson and Hilferty (1931): good from about 10 degrees of freedom
// on.
inline double ChiSquareScore(double chi_square, double freedom) {
  const double variance = 2.0 / (9.0 * freedom);
  return (std::cbrt(chi_square / freedom) - (1.0 - variance)) / std::sqrt(variance);
}

// Mean of independent values that need not be alike, and its standard error from their own spread.
struct MeanAndError {
  double mean, error;
};
inline MeanAndError MeanOf(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  double sum = 0.0, squares = 0.0;
  for (double value : values) sum += value;
  for (double value : values) squares += (value - sum / n) * (value - sum / n);
  return {sum / n, std::sqrt(squares / (n - 1.0) / n)};
}

}  // namespace dropkit::statistics

#endif  // DROPKIT_TESTS_DRAWN_MASK_H_
