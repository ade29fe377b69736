// Runs a given field of fired units, or a given mask, through Spread or Pack and both passes of Apply.
//
// Inputs and results are dense in the order [samples][channels][spatial], whatever the layout in between. Every call
// runs all backends that work in host memory and requires that they agree to the last bit.
#ifndef DROPKIT_TESTS_INJECT_H_
#define DROPKIT_TESTS_INJECT_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::inject {

struct Result {
  std::vector<uint8_t> keep;  // 1 = kept
  std::vector<float> y, dx;   // forward of x, backward of dy
  std::vector<int64_t> kept;  // as the mask counts them
};

struct Shape {
  int64_t samples, channels;
  std::vector<int64_t> sizes;
  Layout layout = Layout::kChannelsFirst;
  View ViewOf(void* data, DType dtype = DType::kF32) const {
    return DenseView(data, dtype, samples, channels, sizes, layout);
  }
  int64_t Cells() const {
    int64_t cells = 1;
    for (int64_t size : sizes) cells *= size;
    return cells;
  }
  int64_t Elements() const { return samples * channels * Cells(); }
};

inline Spec Parse(const std::string& line) {
  Spec spec;
  const Status status = ParseSpec(line, &spec);
  EXPECT_TRUE(status.ok()) << line << ": " << status.message();
  return spec;
}

inline RateInfo RatesOf(const Spec& spec, float p, const Shape& shape) {
  RateInfo info = {};
  const Status status = Rates(spec, p, shape.ViewOf(nullptr), &info);
  EXPECT_TRUE(status.ok()) << status.message();
  return info;
}

// Values in [1, 2) of either sign: none is 0, so a zero in the output is a dropped one.
inline std::vector<float> Values(int64_t count, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const uint64_t word = engine();
    value = (1.0f + static_cast<float>(word >> 41) * 0x1p-23f) * (word & 1 ? 1.0f : -1.0f);
  }
  return values;
}

// Place in a dense tensor of `shape` of element `index` in the order [samples][channels][spatial].
inline int64_t PlaceOf(const Shape& shape, int64_t index) {
  if (shape.layout == Layout::kChannelsFirst) return index;
  const int64_t cells = shape.Cells();
  const int64_t cell = index % cells, channel = index / cells % shape.channels, sample = index / cells / shape.channels;
  return (sample * cells + cell) * shape.channels + channel;
}

inline std::vector<float> ApplyTo(const Mask& mask, Pass pass, const Shape& shape, const std::vector<float>& in,
                                  const Exec& exec) {
  std::vector<float> placed(in.size()), result(in.size(), -77.0f), out(in.size());
  for (size_t i = 0; i < in.size(); ++i) placed[PlaceOf(shape, i)] = in[i];
  const Status status = Apply(mask, pass, shape.ViewOf(placed.data()), shape.ViewOf(result.data()), exec);
  EXPECT_TRUE(status.ok()) << status.message();
  for (size_t i = 0; i < in.size(); ++i) out[i] = result[PlaceOf(shape, i)];
  return out;
}

using Verb = Status (*)(const Spec&, Probability, const uint8_t*, const View&, const Exec&, Mask*);

inline Result RunOn(const char* backend, Verb verb, const Spec& spec, float p, const std::vector<uint8_t>& bytes,
                    const Shape& shape, const std::vector<float>& x, const std::vector<float>& dy) {
  Exec exec;
  exec.backend = backend;
  MaskStorage storage;
  Result result;
  Status status = storage.Reserve(spec, shape.ViewOf(nullptr));
  if (status.ok()) status = verb(spec, p, bytes.data(), shape.ViewOf(nullptr), exec, &storage.mask);
  result.keep.resize(shape.Elements());
  if (status.ok()) status = Unpack(storage.mask, result.keep.data());
  EXPECT_TRUE(status.ok()) << status.message();
  if (!status.ok()) return result;
  static const uint64_t key[2] = {11, 12};  // fill=noise reads it; nothing else does
  storage.mask.key = key;
  result.y = ApplyTo(storage.mask, Pass::kForward, shape, x, exec);
  result.dx = ApplyTo(storage.mask, Pass::kBackward, shape, dy, exec);
  result.kept.assign(storage.mask.kept, storage.mask.kept + storage.mask.num_kept);
  return result;
}

inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

inline Result Inject(Verb verb, const Spec& spec, float p, const std::vector<uint8_t>& bytes, const Shape& shape,
                     const std::vector<float>& x, const std::vector<float>& dy) {
  const Result result = RunOn("cpu", verb, spec, p, bytes, shape, x, dy);
  const Result reference = RunOn("reference", verb, spec, p, bytes, shape, x, dy);
  EXPECT_EQ(result.keep, reference.keep);
  EXPECT_EQ(result.kept, reference.kept);
  EXPECT_TRUE(SameBits(result.y, reference.y)) << "backends differ in y";
  EXPECT_TRUE(SameBits(result.dx, reference.dx)) << "backends differ in dx";
  return result;
}

// With x and dy from Values().
inline Result Inject(Verb verb, const Spec& spec, float p, const std::vector<uint8_t>& bytes, const Shape& shape) {
  return Inject(verb, spec, p, bytes, shape, Values(shape.Elements(), 1), Values(shape.Elements(), 2));
}

// y = x * gain and dx = dy * gain where kept, within a relative tolerance; exactly 0 where dropped. gain(i) is that of
// element i.
template <typename GainAt>
void ExpectScaled(const Result& result, const std::vector<uint8_t>& keep, GainAt gain, double tolerance = 1e-6) {
  ASSERT_EQ(result.keep, keep);
  const std::vector<float> x = Values(keep.size(), 1), dy = Values(keep.size(), 2);
  for (size_t i = 0; i < keep.size(); ++i) {
    const double y = keep[i] ? x[i] * gain(i) : 0.0, dx = keep[i] ? dy[i] * gain(i) : 0.0;
    ASSERT_NEAR(result.y[i], y, tolerance * std::abs(y)) << "element " << i;
    ASSERT_NEAR(result.dx[i], dx, tolerance * std::abs(dx)) << "element " << i;
  }
}

}  // namespace dropkit::inject

#endif  // DROPKIT_TESTS_INJECT_H_
