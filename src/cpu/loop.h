// How Apply walks over x, y and the mask's bits: rows, the innermost axis, and where each of them starts.
//
// The five axes are ordered by y's strides and merged where they follow each other, so dense tensors become one long
// row (one a sample or plane, when gains differ by them). Short rows that follow each other in memory but not in the
// mask (the map of a channel that shares a bit; the channels of a cell) are one row too, whose bits are gathered.
#ifndef DROPKIT_SRC_CPU_LOOP_H_
#define DROPKIT_SRC_CPU_LOOP_H_

#include <array>
#include <cstdint>

#include "dropkit/dropkit.h"

namespace dropkit::cpu {

// One axis of the loop: how far a step moves in x, y, the mask, the gains and (for noise) the element's number.
struct Step {
  int64_t size, x, y, bit, sample, channel, element;
};

struct Loop {
  std::array<Step, 5> step;  // outermost first
  int dims = 0;
  // Of a row with gathered bits: `part_size` elements in turn have bits part_bit apart, and step.bit is from part to
  // part. 0: bits are not gathered.
  int64_t part_size = 0, part_bit = 0;

  const Step& inner() const { return step[dims - 1]; }
  int64_t rows() const;
};

// `needs_place`: noise needs each element's number.
Loop MakeLoop(const Mask& mask, const View& x, const View& y, bool needs_place);

struct Place {
  int64_t x = 0, y = 0, bit = 0, sample = 0, channel = 0, element = 0;
  void Move(const Step& step, int64_t times);
};

// From row to row without a division each: short rows cost little else.
class Walk {
 public:
  Walk(const Loop& loop, int64_t row);
  const Place& place() const { return place_; }
  void Next();

 private:
  const Loop& loop_;
  Place place_;
  std::array<int64_t, 5> at_{};
};

// The bits of elements [first, first + count) of a row whose bits are gathered and start at `bit`, from bit 0 of
// `gathered` on.
void GatherBits(const Loop& loop, const uint64_t* bits, int64_t bit, int64_t first, int64_t count, uint64_t* gathered);

}  // namespace dropkit::cpu

#endif  // DROPKIT_SRC_CPU_LOOP_H_
