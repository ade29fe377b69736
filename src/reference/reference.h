// The reference backend's own functions: obviously correct and slow, one bool or double at a time.
//
// Written from docs/draws.md (the section numbers below are its own) and sharing no code with the other backends, so
// that agreement with it means something. It allocates, uses no threads, and holds a sample of the mask as bools.
// Arguments are assumed valid, as backend.h says; parsing and validation are elsewhere.
#ifndef DROPKIT_SRC_REFERENCE_REFERENCE_H_
#define DROPKIT_SRC_REFERENCE_REFERENCE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::reference {

// ---- Sections 1 and 2.
using Words = std::array<uint32_t, 4>;
using KeyWords = std::array<uint32_t, 2>;
enum class Tag : uint32_t { kDigits = 1, kOverlay = 2, kCentres = 3, kNoise = 4 };
Words Philox(Words counter, KeyWords key);
KeyWords CallKey(Key key, Tag tag);
Words Draw(KeyWords call_key, uint32_t call, uint32_t tile, uint64_t sample);

// ---- Section 3. kBadThreshold for a p that is NaN or outside [0, 1].
uint64_t ThresholdOf(float p);

// ---- Sections 5 and 6: Q -> which lanes of a sample fire.
struct LanePlan {
  bool inverted;          // the lanes found are those that do not fire
  uint64_t digits, rest;  // D and E
  int rounds;             // 0 where E is 0
  std::vector<uint32_t> thresholds;
};
LanePlan PlanLanes(uint64_t lane_threshold);
std::vector<bool> FiredLanes(uint64_t lane_threshold, int64_t lanes, Key key, uint64_t sample);

// ---- Section 7. Every method's unit drops a box of its channel: an element, the whole map, a block or a cutout
// square.
struct Axis {
  int64_t size = 1, block = 1, positions = 1, before = 0;
  int64_t First(int64_t position) const;  // the box of `position` on this axis is [First, End)
  int64_t End(int64_t position) const;
};
using Axes = std::array<Axis, 3>;  // a missing axis has one cell and one position
Axes AxesOf(const Spec& spec, int spatial_dims, const int64_t size[3]);
int64_t Cells(const Axes& axes);
int64_t Positions(const Axes& axes);
uint64_t LaneThreshold(const Spec& spec, const Axes& axes, uint64_t threshold);
double ExpectedKept(const Spec& spec, const Axes& axes, uint64_t lane_threshold);

// ---- Section 9.
double Normal(uint32_t word);
double Noise(Key key, uint64_t sample, uint64_t element);

// ---- Section 10: the maps of sample n, channel c, in f64, before they are rounded to f32.
Gain GainAt(const Mask& mask, Pass pass, int64_t n, int64_t c);

// ---- 16-bit floats, nearest even.
struct HalfFormat {
  int fraction_bits, min_exponent;  // of f16: 10, -14; of bf16: 7, -126
};
inline constexpr HalfFormat kF16{10, -14}, kBF16{7, -126};
uint16_t Encode(float value, HalfFormat format);
float Decode(uint16_t bits, HalfFormat format);

// ---- The verbs, as in backend.h.
Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask);
Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask);
Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask);
Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);

}  // namespace dropkit::reference

#endif  // DROPKIT_SRC_REFERENCE_REFERENCE_H_
