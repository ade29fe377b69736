// See walk.h.
#include "cpu/walk.h"

#include <algorithm>

#include "bits.h"

namespace dropkit::cpu {
namespace {

// A row of more elements is worth a call of its own, which reads nothing where one dropped bit is the whole row's.
constexpr int64_t kShortRow = 512;

void GatherShortRows(Loop* loop) {
  if (loop->dims < 2) return;
  const Step& inner = loop->inner();
  Step outer = loop->step[loop->dims - 2];
  const bool is_dense = inner.x == 1 && inner.y == 1 && (inner.bit == 0 || inner.bit == 1);
  const bool has_place = (inner.sample | inner.channel | inner.element) != 0;
  if (!is_dense || has_place || inner.size > kShortRow || !FollowsInMemory(outer, inner) ||
      !SharesGain(outer, inner, inner.size))
    return;
  loop->part_size = inner.size;
  loop->part_bit = inner.bit;
  outer.size *= inner.size;
  outer.x = outer.y = 1;
  loop->step[--loop->dims - 1] = outer;
}

}  // namespace

Loop MakeLoop(const Mask& mask, const View& x, const View& y, bool needs_place) {
  Loop loop = MergedAxes(mask, x, y, needs_place);
  GatherShortRows(&loop);
  return loop;
}

void Place::Move(const Step& step, int64_t times) {
  x += times * step.x;
  y += times * step.y;
  bit += times * step.bit;
  sample += times * step.sample;
  channel += times * step.channel;
  element += times * step.element;
}

Walk::Walk(const Loop& loop, int64_t row) : loop_(loop) {
  for (int i = loop.dims - 2; i >= 0; --i) {
    at_[i] = row % loop.step[i].size;
    place_.Move(loop.step[i], at_[i]);
    row /= loop.step[i].size;
  }
}

void Walk::Next() {
  for (int i = loop_.dims - 2; i >= 0; --i) {
    place_.Move(loop_.step[i], 1);
    if (++at_[i] < loop_.step[i].size) return;
    place_.Move(loop_.step[i], -at_[i]);
    at_[i] = 0;
  }
}

void GatherBits(const Loop& loop, const uint64_t* bits, int64_t bit, int64_t first, int64_t count, uint64_t* gathered) {
  std::fill_n(gathered, (count + 63) / 64, ~uint64_t{0});
  int64_t in_part = first % loop.part_size;
  bit += first / loop.part_size * loop.inner().bit;
  for (int64_t done = 0; done < count; bit += loop.inner().bit, in_part = 0) {
    const int64_t end = std::min(count, done + loop.part_size - in_part);
    if (loop.part_bit == 0) {
      if (!GetBit(bits, bit)) ClearRange(gathered, done, end);
      done = end;
      continue;
    }
    for (int64_t from = bit + in_part; done < end;) {
      const int64_t some = std::min<int64_t>(64, end - done);
      ClearMarked(gathered, done, ~LoadBits(bits, from, some) & LowMask(some));
      done += some;
      from += some;
    }
  }
}

}  // namespace dropkit::cpu
