// How Apply walks over x, y and the mask's bits, on whatever device: five axes, merged where they follow each other.
//
// The axes are ordered by y's strides and merged, so dense tensors become one long row (one a sample or plane, when
// gains differ by them). Plain data, made on the host from sizes and strides alone; how rows are walked, and which
// short ones are taken together, is each backend's own.
#ifndef DROPKIT_SRC_LOOP_H_
#define DROPKIT_SRC_LOOP_H_

#include <cstdint>

#include "draw.h"
#include "dropkit/dropkit.h"

namespace dropkit {

// One axis of the loop: how far a step moves in x, y, the mask, the gains and (for noise) the element's number.
struct Step {
  int64_t size, x, y, bit, sample, channel, element;
};

struct Loop {
  Step step[5];  // outermost first
  int dims = 0;  // 1 or more once made
  // Of a row with gathered bits: `part_size` elements in turn have bits part_bit apart, and step.bit is from part to
  // part. 0: bits are not gathered. MergedAxes leaves it so.
  int64_t part_size = 0, part_bit = 0;

  DROPKIT_HOST_DEVICE const Step& inner() const { return step[dims - 1]; }
  int64_t rows() const;
};

// Gains by sample or plane, and noise, which needs each element's number (`needs_place`), keep those axes apart from
// the others; otherwise only memory matters.
Loop MergedAxes(const Mask& mask, const View& x, const View& y, bool needs_place);

// What merging asks: that a step of `outer` is all of `inner` in x and y; that a step of `a` is `times` steps of `b` in
// sample, channel and element.
bool FollowsInMemory(const Step& outer, const Step& inner);
bool SharesGain(const Step& a, const Step& b, int64_t times);

}  // namespace dropkit

#endif  // DROPKIT_SRC_LOOP_H_
