// What `dropkit explain` tells, as numbers: a small tensor taken through one method step by step, each step computed
// from the one before in the plainest way. The lanes that fire come from src/reference; the blocks from its boxes.
// Assumes a tensor of some hundred elements. Words and pictures are in explain_steps.h and explain_show.h.

#ifndef DROPKIT_CLI_EXPLAIN_NUMBERS_H_
#define DROPKIT_CLI_EXPLAIN_NUMBERS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"
#include "src/reference/reference.h"

namespace dropkit::cli {

// A unit that fired. Units shared over the batch or over channels have sample 0 or channel 0.
struct FiredUnit {
  int64_t sample, channel;
  int64_t position;  // row-major: of a block's first corner or centre as docs/draws.md has it, of a hole's centre
};

// What `kept` is counted over: the tensor, a sample or a plane.
struct KeptGroup {
  int64_t kept = 0, total = 0;
};

struct Numbers {
  Spec spec;
  float p = 0;
  uint64_t key[2] = {0, 0};
  std::vector<int64_t> shape;
  RateInfo rates;
  reference::Axes axes;                          // size, block and positions of each axis, missing ones last
  int64_t samples = 1, channels = 1, cells = 1;  // of x
  int64_t unit_samples = 1, unit_channels = 1;   // 1 where one unit serves all
  int64_t holes_drawn = 0;                       // cutout: holes that could have fired
  std::vector<float> x;                          // [samples][channels][cells], as the three below
  std::vector<int64_t> covering;                 // how many fired units drop the element
  std::vector<uint8_t> keep;
  std::vector<float> y;
  std::vector<FiredUnit> fired;
  std::vector<KeptGroup> groups;
  std::vector<double> gains;  // a group each with normalize=kept, else one; before the rounding to f32

  int spatial_dims() const { return static_cast<int>(shape.size()) - 2; }
  int64_t positions() const { return reference::Positions(axes); }
  int64_t Index(int64_t n, int64_t c, int64_t cell) const { return (n * channels + c) * cells + cell; }
  size_t Group(int64_t n, int64_t c) const;
  double GainAt(int64_t n, int64_t c) const { return gains[gains.size() == 1 ? 0 : Group(n, c)]; }
};

// Row-major position of the axes -> its index on each.
std::array<int64_t, 3> IndexOnAxes(const reference::Axes& axes, int64_t position);

// Throws CLI::ValidationError for a spec or shape that the library refuses.
Numbers ComputeNumbers(const Spec& spec, float p, const uint64_t key[2], const std::vector<int64_t>& shape);

// Runs Sample, Spread, GainOf and Apply of the default backend on the same case and returns what differs from the
// steps, or nothing when all agree.
std::string Contradiction(const Numbers& numbers);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_EXPLAIN_NUMBERS_H_
