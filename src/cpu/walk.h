// How the `cpu` Apply walks over the rows of a Loop (src/loop.h), and where each of them starts.
//
// Short rows that follow each other in memory but not in the mask (the map of a channel that shares a bit; the channels
// of a cell) are one row too, whose bits are gathered.
#ifndef DROPKIT_SRC_CPU_WALK_H_
#define DROPKIT_SRC_CPU_WALK_H_

#include <array>
#include <cstdint>

#include "dropkit/dropkit.h"
#include "loop.h"

namespace dropkit::cpu {

// MergedAxes, and short rows that follow each other taken together.
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

#endif  // DROPKIT_SRC_CPU_WALK_H_
