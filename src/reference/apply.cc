// Apply: gains (section 10 of docs/draws.md) and the affine maps of contract 5 in dropkit.h.
//
// One element at a time, any strides, y may be x. Assumes arithmetic without contraction (-ffp-contract=off).
#include <cmath>
#include <cstring>
#include <limits>

#include "reference/reference.h"

namespace dropkit::reference {
namespace {

constexpr double kTwo32 = 4294967296.0;

double GainOfCounts(const Mask& mask, int64_t n, int64_t c) {
  const int64_t cells = mask.size[0] * mask.size[1] * mask.size[2];
  int64_t total = mask.total, kept = 0;
  if (mask.spec.over == Over::kTensor) {
    for (int64_t i = 0; i < mask.num_kept; ++i) kept += mask.kept[i];
  } else {
    const bool plane = mask.spec.over == Over::kPlane;
    total = plane ? cells : mask.channels * cells;
    kept = mask.kept[plane ? n * mask.channels + c : n];
  }
  return kept == 0 ? 0.0 : static_cast<double>(total) / static_cast<double>(kept);
}

double GainOnKept(const Mask& mask, int64_t n, int64_t c) {
  const uint64_t threshold = *mask.threshold;
  switch (mask.spec.normalize) {
    case Normalize::kKept:
      return GainOfCounts(mask, n, c);
    case Normalize::kExpected: {
      const Axes axes = AxesOf(mask.spec, mask.spatial_dims, mask.size);
      const double kept = ExpectedKept(mask.spec, axes, LaneThreshold(mask.spec, axes, threshold));
      return kept == 0.0 ? 0.0 : 1.0 / kept;
    }
    case Normalize::kAsked:
      return threshold == uint64_t{1} << 32 ? 0.0 : 1.0 / (1.0 - static_cast<double>(threshold) / kTwo32);
    case Normalize::kNone:
      break;
  }
  return 1.0;
}

struct Place {
  int64_t n, c, i, j, k;
};

bool KeptAt(const Mask& mask, const Place& at) {
  const int64_t bit = at.n * mask.sample_stride + at.c * mask.channel_stride + at.i * mask.stride[0] +
                      at.j * mask.stride[1] + at.k * mask.stride[2];
  return (mask.bits[bit / 64] >> (bit % 64)) & 1;
}

char* Address(const View& view, const Place& at) {
  const int64_t element = at.n * view.sample_stride + at.c * view.channel_stride + at.i * view.stride[0] +
                          at.j * view.stride[1] + at.k * view.stride[2];
  const int64_t size = view.dtype == DType::kF64 ? 8 : view.dtype == DType::kF32 ? 4 : 2;
  return static_cast<char*>(view.data) + element * size;
}

template <typename T>
T Read(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

float Load(const char* from, DType dtype) {
  if (dtype == DType::kF32) return Read<float>(from);
  return Decode(Read<uint16_t>(from), dtype == DType::kF16 ? kF16 : kBF16);
}

void Store(float value, DType dtype, char* to) {
  if (dtype == DType::kF32) {
    std::memcpy(to, &value, sizeof(value));
    return;
  }
  const uint16_t bits = Encode(value, dtype == DType::kF16 ? kF16 : kBF16);
  std::memcpy(to, &bits, sizeof(bits));
}

// Real is float, or double for f64 tensors. The gain is rounded to it once.
template <typename Real>
Real MapElement(Real x, bool kept, const Gain& gain) {
  const Real a = static_cast<Real>(gain.a), b = static_cast<Real>(gain.b);
  const Real c = static_cast<Real>(gain.c), d = static_cast<Real>(gain.d);
  if (kept) {
    const Real product = x * a;
    return b != 0 ? product + b : product;
  }
  if (c == 0) return d;
  const Real product = x * c;
  return product + d;
}

void MapPlace(const View& x, const View& y, const Place& at, bool kept, const Gain& gain) {
  if (x.dtype == DType::kF64) {
    const double value = MapElement(Read<double>(Address(x, at)), kept, gain);
    std::memcpy(Address(y, at), &value, sizeof(value));
  } else {
    Store(MapElement(Load(Address(x, at), x.dtype), kept, gain), y.dtype, Address(y, at));
  }
}

double NoiseAt(const Mask& mask, const Place& at) {
  const bool shared = mask.spec.share == Share::kBatch || mask.spec.share == Share::kAll;
  const int64_t element = ((at.c * mask.size[0] + at.i) * mask.size[1] + at.j) * mask.size[2] + at.k;
  return Noise(mask.key, shared ? 0 : static_cast<uint64_t>(mask.first_sample + at.n), static_cast<uint64_t>(element));
}

}  // namespace

Gain GainAt(const Mask& mask, Pass pass, int64_t n, int64_t c) {
  if (*mask.threshold == kBadThreshold) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, 0, 0, nan};
  }
  Gain gain;
  gain.a = GainOnKept(mask, n, c);
  if (pass == Pass::kForward && mask.spec.fill == Fill::kNumber) gain.d = mask.spec.fill_value;
  return gain;
}

Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec&) {
  const bool noise = mask.spec.fill == Fill::kNoise && pass == Pass::kForward && *mask.threshold != kBadThreshold;
  std::vector<Gain> gains;  // all before the first element is written, because finding them may run out of memory
  for (int64_t n = 0; n < mask.samples; ++n) {
    for (int64_t c = 0; c < mask.channels; ++c) gains.push_back(GainAt(mask, pass, n, c));
  }
  Place at;
  for (at.n = 0; at.n < mask.samples; ++at.n) {
    for (at.c = 0; at.c < mask.channels; ++at.c) {
      Gain gain = gains[at.n * mask.channels + at.c];
      for (at.i = 0; at.i < mask.size[0]; ++at.i) {
        for (at.j = 0; at.j < mask.size[1]; ++at.j) {
          for (at.k = 0; at.k < mask.size[2]; ++at.k) {
            const bool kept = KeptAt(mask, at);
            if (noise && !kept) gain.d = NoiseAt(mask, at);
            MapPlace(x, y, at, kept, gain);
          }
        }
      }
    }
  }
  return {};
}

}  // namespace dropkit::reference
