// docs/draws.md in code: from key and p to "does lane i of sample s fire". Host and device inline; what decides a bit
// is here and nowhere else. f64 expressions are written one operation at a time, in the page's order, and the build
// forbids contraction (-ffp-contract=off).
#ifndef DROPKIT_SRC_DRAW_H_
#define DROPKIT_SRC_DRAW_H_

#include <cmath>
#include <cstdint>

#if defined(__CUDACC__)
#define DROPKIT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define DROPKIT_HOST_DEVICE inline
#endif

namespace dropkit {

// ---------------------------------------------------------------- Philox4x32-10 and keys

struct Words4 {
  uint32_t word[4];
};

struct CallKey {
  uint32_t word[2];
};

// A new kind of draw takes a new tag, so no golden line ever moves.
enum class Tag : uint32_t { kDigits = 1, kOverlay = 2, kCentres = 3, kNoise = 4 };

inline constexpr double kTwo32 = 4294967296.0;
inline constexpr uint64_t kOne = uint64_t{1} << 32;  // probability 1, in units of 2^-32
inline constexpr int kTileLanes = 512;
inline constexpr int kTileWords = kTileLanes / 64;
inline constexpr int kMostThresholds = 32;

DROPKIT_HOST_DEVICE uint32_t Low32(uint64_t value) { return static_cast<uint32_t>(value); }
DROPKIT_HOST_DEVICE uint32_t High32(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

// Philox's constants, for whoever runs many calls side by side.
inline constexpr int kPhiloxRounds = 10;
inline constexpr uint32_t kPhiloxMultiplier0 = 0xD2511F53u, kPhiloxMultiplier2 = 0xCD9E8D57u;

DROPKIT_HOST_DEVICE CallKey NextRound(CallKey key) { return {{key.word[0] + 0x9E3779B9u, key.word[1] + 0xBB67AE85u}}; }

DROPKIT_HOST_DEVICE Words4 Philox(Words4 counter, CallKey key) {
  uint32_t* c = counter.word;
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const uint64_t product0 = uint64_t{kPhiloxMultiplier0} * c[0];
    const uint64_t product2 = uint64_t{kPhiloxMultiplier2} * c[2];
    const uint32_t c0 = High32(product2) ^ c[1] ^ key.word[0];
    const uint32_t c2 = High32(product0) ^ c[3] ^ key.word[1];
    c[1] = Low32(product2);
    c[3] = Low32(product0);
    c[0] = c0;
    c[2] = c2;
    key = NextRound(key);
  }
  return counter;
}

DROPKIT_HOST_DEVICE CallKey MakeCallKey(uint64_t seed, uint64_t offset, Tag tag) {
  const Words4 words =
      Philox({{Low32(offset), High32(offset), static_cast<uint32_t>(tag), 0}}, {{Low32(seed), High32(seed)}});
  return {{words.word[0], words.word[1]}};
}

DROPKIT_HOST_DEVICE Words4 Draw(CallKey key, uint32_t call, uint32_t tile, uint64_t sample) {
  return Philox({{call, tile, Low32(sample), High32(sample)}}, key);
}

// ---------------------------------------------------------------- thresholds

// T of a p; kBadThreshold's value (all ones) for NaN and outside [0, 1].
DROPKIT_HOST_DEVICE uint64_t ThresholdOf(float p) {
  if (!(p >= 0.0f && p <= 1.0f)) return ~uint64_t{0};
  return static_cast<uint64_t>(static_cast<double>(p) * kTwo32 + 0.5);
}

// A probability in f64 to units of 2^-32.
DROPKIT_HOST_DEVICE uint64_t Quantise(double probability) {
  if (probability >= 1.0) return kOne;
  if (!(probability > 0.0)) return 0;
  return static_cast<uint64_t>(probability * kTwo32 + 0.5);
}

// How lanes of probability Q / 2^32 are drawn: section 5's split and section 6's table.
struct LaneLaw {
  bool none = false, all = false;  // Q = 0, Q = 2^32
  bool inverted = false;           // the drawn lanes are those that do not fire
  uint32_t digits = 0;             // D
  uint32_t rest = 0;               // E
  int num_digit_calls = 0;         // m
  int rounds = 0;                  // of the overlay; 0: no overlay
  int num_thresholds = 0;
  uint32_t threshold[kMostThresholds] = {};
};

DROPKIT_HOST_DEVICE double PoissonMean(uint32_t digits, uint32_t rest) {
  const double delta = static_cast<double>(rest) / (kTwo32 - static_cast<double>(uint64_t{digits} << 25));
  const double z = delta / (2.0 - delta);
  const double z2 = z * z;
  double series = 1.0 / 13.0;
  for (int k = 11; k >= 1; k -= 2) series = series * z2 + 1.0 / k;
  return 512.0 * ((2.0 * z) * series);
}

DROPKIT_HOST_DEVICE double ExpOfMinus(double mean) {
  const double factorial[7] = {720.0, 120.0, 24.0, 6.0, 2.0, 1.0, 1.0};
  const double x = -(mean / 1024.0);
  double e = 1.0 / factorial[0];
  for (int i = 1; i < 7; ++i) e = e * x + 1.0 / factorial[i];
  for (int i = 0; i < 10; ++i) e = e * e;
  return e;
}

DROPKIT_HOST_DEVICE void FillPoissonTable(LaneLaw* law) {
  double mean = PoissonMean(law->digits, law->rest);
  law->rounds = mean <= 8.0 ? 1 : 2;
  mean = mean / static_cast<double>(law->rounds);
  double pmf = ExpOfMinus(mean);
  double cdf = pmf;
  for (int k = 0; k < kMostThresholds; ++k) {
    if (k > 0) {
      pmf = (pmf * mean) / static_cast<double>(k);
      cdf = cdf + pmf;
    }
    const double scaled = cdf * kTwo32 + 0.5;
    if (scaled >= kTwo32) return;
    law->threshold[law->num_thresholds++] = static_cast<uint32_t>(scaled);
  }
}

DROPKIT_HOST_DEVICE LaneLaw MakeLaneLaw(uint64_t q) {
  LaneLaw law;
  law.none = q == 0;
  law.all = q >= kOne;
  if (law.none || law.all) return law;
  law.inverted = q > kOne / 2;
  const uint32_t r = static_cast<uint32_t>(law.inverted ? kOne - q : q);
  law.digits = r < (1u << 27) ? 0 : r >> 25;
  law.rest = r - (law.digits << 25);
  if (law.digits != 0) {
    law.num_digit_calls = 7;
    while (((law.digits >> (7 - law.num_digit_calls)) & 1) == 0) --law.num_digit_calls;
  }
  if (law.rest != 0) FillPoissonTable(&law);
  return law;
}

// ---------------------------------------------------------------- lanes

// The digit part of group `group`'s 128 lanes, in two words. law.digits is not 0.
DROPKIT_HOST_DEVICE void DrawDigitGroup(const LaneLaw& law, CallKey digits_key, uint32_t group, uint64_t sample,
                                        uint64_t bits[2]) {
  uint64_t low = 0, high = 0;
  for (int j = law.num_digit_calls; j >= 1; --j) {
    const Words4 w = Draw(digits_key, static_cast<uint32_t>(j - 1), group, sample);
    const uint64_t r_low = w.word[0] | uint64_t{w.word[1]} << 32;
    const uint64_t r_high = w.word[2] | uint64_t{w.word[3]} << 32;
    const bool one = (law.digits >> (7 - j)) & 1;
    low = one ? low | r_low : low & r_low;
    high = one ? high | r_high : high & r_high;
  }
  bits[0] = low;
  bits[1] = high;
}

// Calls body(lane of the tile) for each of the overlay's marks; a lane may come again, or lie past the sample's end.
template <typename Body>
DROPKIT_HOST_DEVICE void ForEachMark(const LaneLaw& law, CallKey overlay_key, uint32_t tile, uint64_t sample,
                                     Body body) {
  for (int round = 0; round < law.rounds; ++round) {
    uint32_t call = 16 * static_cast<uint32_t>(round);
    Words4 w = Draw(overlay_key, call, tile, sample);
    int count = 0;
    while (count < law.num_thresholds && law.threshold[count] <= w.word[0]) ++count;
    for (int j = 1; j <= count; ++j) {
      if ((j & 3) == 0) w = Draw(overlay_key, ++call, tile, sample);
      body(w.word[j & 3] >> 23);
    }
  }
}

// The fired lanes of one tile: bit i of bits is lane 512 tile + i. Bits from `lanes`, those that the sample has in this
// tile, are unspecified. What the kernels of a backend do at large.
DROPKIT_HOST_DEVICE void DrawTile(const LaneLaw& law, CallKey digits_key, CallKey overlay_key, uint32_t tile,
                                  uint64_t sample, int lanes, uint64_t bits[kTileWords]) {
  for (int i = 0; i < kTileWords; ++i) bits[i] = law.all ? ~uint64_t{0} : 0;
  if (law.none || law.all) return;
  for (int group = 0; law.digits != 0 && group * 128 < lanes; ++group) {
    DrawDigitGroup(law, digits_key, tile * (kTileLanes / 128) + static_cast<uint32_t>(group), sample, bits + 2 * group);
  }
  ForEachMark(law, overlay_key, tile, sample, [&](uint32_t lane) { bits[lane >> 6] |= uint64_t{1} << (lane & 63); });
  for (int i = 0; law.inverted && i < kTileWords; ++i) bits[i] = ~bits[i];
}

// Uniform in [0, count), within a relative 2^-32 * count.
DROPKIT_HOST_DEVICE int64_t UniformBelow(uint32_t word, int64_t count) {
  return static_cast<int64_t>((static_cast<uint64_t>(word) * static_cast<uint64_t>(count)) >> 32);
}

// ---------------------------------------------------------------- fill=noise

DROPKIT_HOST_DEVICE double NaturalLog(double h) {  // h in (0, 1)
  int halvings = 0;
  while (h < 1.0) {
    h = h * 2.0;
    ++halvings;
  }
  const double v = (h - 1.0) / (h + 1.0);
  const double v2 = v * v;
  double series = 1.0 / 25.0;
  for (int j = 23; j >= 1; j -= 2) series = series * v2 + 1.0 / j;
  return (2.0 * v) * series - static_cast<double>(halvings) * 0.6931471805599453;
}

// The normal quantile of (word + 1/2) / 2^32 by Acklam's rational approximation.
DROPKIT_HOST_DEVICE double NormalOf(uint32_t word) {
  const double a[6] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                       1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  const double b[5] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02, 6.680131188771972e+01,
                       -1.328068155288572e+01};
  const double c[6] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                       -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  const double d[4] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00, 3.754408661907416e+00};
  const double u = (static_cast<double>(word) + 0.5) / kTwo32;
  const double tail = u < 1.0 - u ? u : 1.0 - u;
  const bool central = tail >= 0.02425;
  const double q = central ? u - 0.5 : std::sqrt(-2.0 * NaturalLog(tail));
  const double r = central ? q * q : q;
  const double* numerators = central ? a : c;
  double numerator = numerators[0];
  for (int i = 1; i < 6; ++i) numerator = numerator * r + numerators[i];
  double denominator = central ? b[0] : d[0];
  for (int i = 1; i < (central ? 5 : 4); ++i) denominator = denominator * r + (central ? b[i] : d[i]);
  denominator = denominator * r + 1.0;
  if (central) return (numerator * q) / denominator;
  const double z = numerator / denominator;
  return u > 0.5 ? -z : z;
}

DROPKIT_HOST_DEVICE double NoiseOf(CallKey noise_key, uint64_t element, uint64_t sample) {
  const uint64_t group = element >> 2;
  const Words4 words = Draw(noise_key, High32(group), Low32(group), sample);
  return NormalOf(words.word[element & 3]);
}

}  // namespace dropkit

#endif  // DROPKIT_SRC_DRAW_H_
