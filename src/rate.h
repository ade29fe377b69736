// From T to what is drawn and what is gained: lane threshold Q, rate=calibrated, expected kept fraction, gains.
// docs/draws.md, sections 3, 7 and 10, in its written order. Host and device inline.
#ifndef DROPKIT_SRC_RATE_H_
#define DROPKIT_SRC_RATE_H_

#include "draw.h"
#include "plan.h"

namespace dropkit {

DROPKIT_HOST_DEVICE double Power(double base, uint64_t exponent) {
  double result = 1.0;
  while (exponent != 0) {
    if (exponent & 1) result = result * base;
    exponent >>= 1;
    if (exponent != 0) base = base * base;
  }
  return result;
}

// Calls body(number of cells, coverage, y^coverage) for every class of the map.
template <typename Body>
DROPKIT_HOST_DEVICE void ForEachClass(const Coverage& coverage, double y, Body body) {
  double power_a = 1.0;
  int64_t last_a = 0;
  for (int64_t i = 0; i < coverage.axis[0].count; ++i) {
    const CoverageClass a = coverage.axis[0][i];
    power_a = power_a * Power(y, a.coverage - last_a);
    last_a = a.coverage;
    double power_b = 1.0;
    int64_t last_b = 0;
    for (int64_t j = 0; j < coverage.axis[1].count; ++j) {
      const CoverageClass b = coverage.axis[1][j];
      power_b = power_b * Power(power_a, b.coverage - last_b);
      last_b = b.coverage;
      double power_c = 1.0;
      int64_t last_c = 0;
      for (int64_t k = 0; k < coverage.axis[2].count; ++k) {
        const CoverageClass c = coverage.axis[2][k];
        power_c = power_c * Power(power_b, c.coverage - last_c);
        last_c = c.coverage;
        body(a.number * b.number * c.number, a.coverage * b.coverage * c.coverage, power_c);
      }
    }
  }
}

// Sums over the classes, in their order: terms(number, coverage, power, term) gives a class's two. Whoever has another
// way to the same sums (cuda/class_sums.h) hands it to the functions below in its place.
struct SerialSums {
  template <typename Terms>
  DROPKIT_HOST_DEVICE void operator()(const Coverage& coverage, double y, Terms terms, double sum[2]) const {
    sum[0] = sum[1] = 0.0;
    ForEachClass(coverage, y, [&](int64_t number, int64_t covering, double power) {
      double term[2];
      terms(number, covering, power, term);
      sum[0] = sum[0] + term[0];
      sum[1] = sum[1] + term[1];
    });
  }
};

DROPKIT_HOST_DEVICE double SumOfCoverage(const Coverage& coverage) {
  int64_t product = 1;
  for (int axis = 0; axis < 3; ++axis) {
    int64_t sum = 0;
    for (int64_t i = 0; i < coverage.axis[axis].count; ++i)
      sum += coverage.axis[axis][i].coverage * coverage.axis[axis][i].number;
    product *= sum;
  }
  return static_cast<double>(product);
}

// gamma with which the expected dropped fraction is t: Newton on sum(number * y^coverage) = (1 - t) * cells from the
// right, where the steps fall monotonically, so the first that does not fall is the end.
template <typename Sums = SerialSums>
DROPKIT_HOST_DEVICE double CalibratedGamma(const Coverage& coverage, int64_t cells, double t, Sums sums = {}) {
  const double mean = SumOfCoverage(coverage) / static_cast<double>(cells);
  const double goal = (1.0 - t) * static_cast<double>(cells);
  double y = 1.0 - t / mean;
  for (int step = 0; step < 64; ++step) {
    double sum[2];
    const auto terms = [](int64_t number, int64_t covering, double power, double term[2]) {
      term[0] = static_cast<double>(number) * power;
      term[1] = term[0] * static_cast<double>(covering);
    };
    sums(coverage, y, terms, sum);
    const double next = y - ((sum[0] - goal) * y) / sum[1];
    if (!(next < y && next > 0.0)) break;
    y = next;
  }
  return 1.0 - y;
}

// Q of T. `coverage` is used by rate=calibrated only.
template <typename Sums = SerialSums>
DROPKIT_HOST_DEVICE uint64_t LaneThreshold(const Spec& spec, const Plan& plan, const Coverage& coverage,
                                           uint64_t threshold, Sums sums = {}) {
  if (spec.method != Method::kDropBlock || threshold == 0 || threshold >= kOne) return threshold;
  const double t = static_cast<double>(threshold) / kTwo32;
  switch (spec.rate) {
    case Rate::kPaper:
      return Quantise(((t * static_cast<double>(plan.cells)) /
                       (static_cast<double>(plan.block_cells) * static_cast<double>(plan.valid_positions))) *
                      spec.gamma_scale);
    case Rate::kPlain:
      return Quantise((t / static_cast<double>(plan.block_cells)) * spec.gamma_scale);
    case Rate::kRaw:
      return Quantise(t * spec.gamma_scale);
    case Rate::kCalibrated:
      return Quantise(CalibratedGamma(coverage, plan.cells, t, sums));
  }
  return 0;
}

template <typename Sums = SerialSums>
DROPKIT_HOST_DEVICE double ExpectedKept(const Spec& spec, const Plan& plan, const Coverage& coverage, uint64_t q,
                                        Sums sums = {}) {
  const double u = static_cast<double>(q) / kTwo32;
  if (!plan.has_blocks) return 1.0 - u;
  double sum[2];
  const auto terms = [&](int64_t number, int64_t covering, double power, double term[2]) {
    const double kept =
        spec.method == Method::kDropBlock
            ? power
            : Power(1.0 - (u * static_cast<double>(covering)) / static_cast<double>(plan.positions), spec.holes);
    term[0] = static_cast<double>(number) * kept;
    term[1] = 0.0;
  };
  sums(coverage, 1.0 - u, terms, sum);
  return sum[0] / static_cast<double>(plan.cells);
}

// The counts that normalize=kept uses for sample n, channel c.
struct KeptCount {
  int64_t kept, total;
};
DROPKIT_HOST_DEVICE KeptCount KeptFor(const Mask& mask, int64_t n, int64_t c) {
  const int64_t cells = mask.size[0] * mask.size[1] * mask.size[2];
  if (mask.spec.over == Over::kPlane) return {mask.kept[n * mask.channels + c], cells};
  if (mask.spec.over == Over::kSample) return {mask.kept[n], cells * mask.channels};
  int64_t kept = 0;
  for (int64_t i = 0; i < mask.num_kept; ++i) kept += mask.kept[i];
  return {kept, mask.total};
}

DROPKIT_HOST_DEVICE double KeptGain(KeptCount count) {
  return count.kept == 0 ? 0.0 : static_cast<double>(count.total) / static_cast<double>(count.kept);
}

// 1 over what is expected to be kept, of Q.
template <typename Sums = SerialSums>
DROPKIT_HOST_DEVICE double ExpectedGain(const Spec& spec, const Plan& plan, const Coverage& coverage, uint64_t q,
                                        Sums sums = {}) {
  const double expected = ExpectedKept(spec, plan, coverage, q, sums);
  return expected == 0.0 ? 0.0 : 1.0 / expected;
}

// The factor on kept elements, before its one rounding to f32. `kept` is used by normalize=kept.
template <typename Sums = SerialSums>
DROPKIT_HOST_DEVICE double GainFactor(const Spec& spec, const Plan& plan, const Coverage& coverage, uint64_t threshold,
                                      KeptCount kept, Sums sums = {}) {
  switch (spec.normalize) {
    case Normalize::kKept:
      return KeptGain(kept);
    case Normalize::kExpected:
      return ExpectedGain(spec, plan, coverage, LaneThreshold(spec, plan, coverage, threshold, sums), sums);
    case Normalize::kAsked:
      return threshold >= kOne ? 0.0 : 1.0 / (1.0 - static_cast<double>(threshold) / kTwo32);
    case Normalize::kNone:
      return 1.0;
  }
  return 1.0;
}

// What a dropped element becomes in this pass; fill=noise draws instead.
DROPKIT_HOST_DEVICE double FillOf(const Spec& spec, Pass pass) {
  return pass == Pass::kForward && spec.fill == Fill::kNumber ? spec.fill_value : 0.0;
}

// T of a p that the host can read.
inline uint64_t HostThreshold(Probability p) { return ThresholdOf(p.device ? *p.device : p.value); }

}  // namespace dropkit

#endif  // DROPKIT_SRC_RATE_H_
