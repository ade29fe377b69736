// From p to T and Q, and the expected kept fraction: sections 3 and 7 of docs/draws.md.
//
// Assumes f64 arithmetic without contraction (-ffp-contract=off), sizes and blocks that drop.cc has accepted, and sums
// of coverage below 2^63.
#include <algorithm>
#include <map>

#include "reference/reference.h"

namespace dropkit::reference {
namespace {

constexpr double kTwo32 = 4294967296.0;
constexpr uint64_t kOne = uint64_t{1} << 32;

using Classes = std::map<int64_t, int64_t>;  // coverage -> cells that have it, ascending

Classes CoverageClasses(const Axis& axis) {
  Classes classes;
  for (int64_t cell = 0; cell < axis.size; ++cell) {
    // Positions u with u - before <= cell < u - before + block.
    const int64_t first = std::max<int64_t>(0, cell + axis.before - axis.block + 1);
    const int64_t last = std::min(axis.positions - 1, cell + axis.before);
    ++classes[last - first + 1];
  }
  return classes;
}

using AllClasses = std::array<Classes, 3>;
AllClasses CoverageClasses(const Axes& axes) {
  return {CoverageClasses(axes[0]), CoverageClasses(axes[1]), CoverageClasses(axes[2])};
}

double Power(double base, int64_t exponent) {
  double result = 1.0;
  while (exponent > 0) {
    if (exponent & 1) result = result * base;
    exponent >>= 1;
    if (exponent > 0) base = base * base;
  }
  return result;
}

// F and G: the sum over cells of y^coverage, and its derivative times y.
struct KeptSum {
  double value = 0, slope = 0;
};
KeptSum SumKept(const AllClasses& classes, double y) {
  KeptSum sum;
  double pa = 1.0;
  int64_t a_before = 0;
  for (const auto& [a, na] : classes[0]) {
    pa = pa * Power(y, a - a_before);
    a_before = a;
    double pb = 1.0;
    int64_t b_before = 0;
    for (const auto& [b, nb] : classes[1]) {
      pb = pb * Power(pa, b - b_before);
      b_before = b;
      double pc = 1.0;
      int64_t c_before = 0;
      for (const auto& [c, nc] : classes[2]) {
        pc = pc * Power(pb, c - c_before);
        c_before = c;
        const double v = static_cast<double>(na * nb * nc) * pc;
        sum.value = sum.value + v;
        sum.slope = sum.slope + v * static_cast<double>(a * b * c);
      }
    }
  }
  return sum;
}

int64_t SumCoverage(const AllClasses& classes) {
  int64_t product = 1;
  for (const Classes& axis : classes) {
    int64_t sum = 0;
    for (const auto& [coverage, cells] : axis) sum += coverage * cells;
    product *= sum;
  }
  return product;
}

double CalibratedGamma(const Axes& axes, double t) {
  const AllClasses classes = CoverageClasses(axes);
  const double cells = static_cast<double>(Cells(axes));
  const double mean = static_cast<double>(SumCoverage(classes)) / cells;
  const double goal = (1.0 - t) * cells;
  double y = 1.0 - t / mean;
  for (int step = 0; step < 64; ++step) {
    const KeptSum sum = SumKept(classes, y);
    const double lower = y - ((sum.value - goal) * y) / sum.slope;
    if (!(lower < y && lower > 0.0)) break;
    y = lower;
  }
  return std::max(0.0, 1.0 - y);
}

double Gamma(const Spec& spec, const Axes& axes, double t) {
  int64_t block = 1, fitting = 1;
  for (const Axis& axis : axes) {
    block *= axis.block;
    fitting *= axis.size - axis.block + 1;
  }
  switch (spec.rate) {
    case Rate::kPaper:
      return ((t * static_cast<double>(Cells(axes))) / (static_cast<double>(block) * static_cast<double>(fitting))) *
             spec.gamma_scale;
    case Rate::kPlain:
      return (t / static_cast<double>(block)) * spec.gamma_scale;
    case Rate::kRaw:
      return t * spec.gamma_scale;
    case Rate::kCalibrated:
      break;
  }
  return CalibratedGamma(axes, t);
}

Axis CutoutAxis(Region region, int64_t size, int64_t extent) {
  if (region == Region::kWhole) return {size, extent, size, extent / 2};
  const int64_t square = std::min(size, extent);
  return {size, square, size - square + 1, 0};
}

Axis DropBlockAxis(const Spec& spec, int64_t size, int64_t block) {
  if (spec.region == Region::kValid) return {size, block, size - block + 1, 0};
  if (block % 2 == 1) return {size, block, size, (block - 1) / 2};
  return {size, block, size, spec.anchor == Anchor::kBefore ? block / 2 : block / 2 - 1};
}

// The block of each axis once it is made to fit the map as the spec asks.
int64_t ClippedBlock(const Spec& spec, int64_t block, int64_t size, int64_t smallest_size) {
  if (spec.clip == Clip::kAxis) return std::min(block, size);
  if (spec.clip == Clip::kSquare) return std::min(block, smallest_size);
  return block;
}

}  // namespace

uint64_t ThresholdOf(float p) {
  if (!(p >= 0.0f && p <= 1.0f)) return kBadThreshold;
  return static_cast<uint64_t>(static_cast<double>(p) * kTwo32 + 0.5);
}

int64_t Axis::First(int64_t position) const { return std::max<int64_t>(0, position - before); }
int64_t Axis::End(int64_t position) const { return std::min(size, position - before + block); }

int64_t Cells(const Axes& axes) { return axes[0].size * axes[1].size * axes[2].size; }
int64_t Positions(const Axes& axes) { return axes[0].positions * axes[1].positions * axes[2].positions; }

Axes AxesOf(const Spec& spec, int spatial_dims, const int64_t size[3]) {
  const int64_t smallest = spatial_dims > 0 ? *std::min_element(size, size + spatial_dims) : 1;
  Axes axes;
  for (int a = 0; a < spatial_dims; ++a) {
    const int64_t extent = spec.extent[spec.extent_dims > 1 ? a : 0];
    switch (spec.method) {
      case Method::kDropout:
      case Method::kDropConnect:
        axes[a] = {size[a], 1, size[a], 0};
        break;
      case Method::kSpatialDropout:
      case Method::kDropPath:
        axes[a] = {size[a], size[a], 1, 0};
        break;
      case Method::kCutout:
        axes[a] = CutoutAxis(spec.region, size[a], extent);
        break;
      case Method::kDropBlock:
        axes[a] = DropBlockAxis(spec, size[a], ClippedBlock(spec, extent, size[a], smallest));
        break;
    }
  }
  return axes;
}

uint64_t LaneThreshold(const Spec& spec, const Axes& axes, uint64_t threshold) {
  if (spec.method != Method::kDropBlock || threshold == 0 || threshold == kOne) return threshold;
  const double gamma = Gamma(spec, axes, static_cast<double>(threshold) / kTwo32);
  return gamma >= 1.0 ? kOne : static_cast<uint64_t>(gamma * kTwo32 + 0.5);
}

double ExpectedKept(const Spec& spec, const Axes& axes, uint64_t lane_threshold) {
  const double u = static_cast<double>(lane_threshold) / kTwo32;
  const double cells = static_cast<double>(Cells(axes));
  if (spec.method == Method::kDropBlock) return SumKept(CoverageClasses(axes), 1.0 - u).value / cells;
  if (spec.method != Method::kCutout) return 1.0 - u;
  const AllClasses classes = CoverageClasses(axes);
  const double positions = static_cast<double>(Positions(axes));
  double sum = 0.0;
  for (const auto& [a, na] : classes[0]) {
    for (const auto& [b, nb] : classes[1]) {
      for (const auto& [c, nc] : classes[2]) {
        const double missed = 1.0 - (u * static_cast<double>(a * b * c)) / positions;
        sum = sum + static_cast<double>(na * nb * nc) * Power(missed, spec.holes);
      }
    }
  }
  return sum / cells;
}

}  // namespace dropkit::reference
