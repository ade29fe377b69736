// The few array operations that other implementations of DropBlock are written with, as plain loops over NCHW.
//
// Values are 0 or 1 where a function says so. Shares nothing with the library: these loops are what it is compared to.
// The rules made of them are in peers_test.cc and recipes_test.cc.
#ifndef DROPKIT_TESTS_POOLING_H_
#define DROPKIT_TESTS_POOLING_H_

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

namespace dropkit::pooling {

struct Map {
  int64_t n, c, h, w;
  std::vector<double> values;
  Map(int64_t n, int64_t c, int64_t h, int64_t w) : n(n), c(c), h(h), w(w), values(n * c * h * w, 0.0) {}
  double& At(int64_t s, int64_t ch, int64_t i, int64_t j) { return values[((s * c + ch) * h + i) * w + j]; }
  double At(int64_t s, int64_t ch, int64_t i, int64_t j) const { return values[((s * c + ch) * h + i) * w + j]; }
  // With a size of 1 standing for every sample or channel.
  double Broadcast(int64_t s, int64_t ch, int64_t i, int64_t j) const {
    return At(n == 1 ? 0 : s, c == 1 ? 0 : ch, i, j);
  }
  double Sum() const { return std::accumulate(values.begin(), values.end(), 0.0); }
  double Size() const { return static_cast<double>(values.size()); }
};

template <typename Body>
void ForEach(const Map& map, Body body) {
  for (int64_t n = 0; n < map.n; ++n)
    for (int64_t c = 0; c < map.c; ++c)
      for (int64_t i = 0; i < map.h; ++i)
        for (int64_t j = 0; j < map.w; ++j) body(n, c, i, j);
}

inline Map Bernoulli(int64_t n, int64_t c, int64_t h, int64_t w, double probability, uint64_t seed) {
  std::mt19937_64 engine(seed);
  Map map(n, c, h, w);
  for (double& value : map.values) value = static_cast<double>(engine() >> 11) * 0x1p-53 < probability ? 1.0 : 0.0;
  return map;
}

// The h x w window whose first corner is (top, left); zero where it lies outside `in`. It pads as well as crops.
inline Map Window(const Map& in, int64_t top, int64_t left, int64_t h, int64_t w) {
  Map out(in.n, in.c, h, w);
  ForEach(out, [&](int64_t n, int64_t c, int64_t i, int64_t j) {
    const int64_t y = i + top, x = j + left;
    if (y >= 0 && y < in.h && x >= 0 && x < in.w) out.At(n, c, i, j) = in.At(n, c, y, x);
  });
  return out;
}

// Stride 1 and no padding: out = (h - kh + 1) x (w - kw + 1). Values are not negative, so padding with 0 is neutral.
inline Map MaxPool(const Map& in, int64_t kh, int64_t kw) {
  Map out(in.n, in.c, in.h - kh + 1, in.w - kw + 1);
  ForEach(out, [&](int64_t n, int64_t c, int64_t i, int64_t j) {
    for (int64_t y = i; y < i + kh; ++y)
      for (int64_t x = j; x < j + kw; ++x) out.At(n, c, i, j) = std::max(out.At(n, c, i, j), in.At(n, c, y, x));
  });
  return out;
}

// PyTorch's max_pool2d(kernel, stride=1, padding): the same padding on both sides, so even kernels give one more row.
inline Map MaxPoolPadded(const Map& in, int64_t kh, int64_t kw, int64_t ph, int64_t pw) {
  return MaxPool(Window(in, -ph, -pw, in.h + 2 * ph, in.w + 2 * pw), kh, kw);
}

// TensorFlow's max_pool(strides=1, padding="SAME"): k - 1 in all, the smaller half before.
inline Map MaxPoolSame(const Map& in, int64_t kh, int64_t kw) {
  return MaxPool(Window(in, -((kh - 1) / 2), -((kw - 1) / 2), in.h + kh - 1, in.w + kw - 1), kh, kw);
}

inline Map OneMinus(Map map) {
  for (double& value : map.values) value = 1.0 - value;
  return map;
}

}  // namespace dropkit::pooling

#endif  // DROPKIT_TESTS_POOLING_H_
