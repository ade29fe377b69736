// See loop.h.
#include "loop.h"

#include <array>
#include <cstdlib>
#include <utility>

namespace dropkit {
namespace {

bool Follows(const Step& outer, const Step& inner) {
  return FollowsInMemory(outer, inner) && outer.bit == inner.bit * inner.size && SharesGain(outer, inner, inner.size);
}

}  // namespace

bool FollowsInMemory(const Step& outer, const Step& inner) {
  return outer.x == inner.x * inner.size && outer.y == inner.y * inner.size;
}

bool SharesGain(const Step& a, const Step& b, int64_t times) {
  return a.sample == b.sample * times && a.channel == b.channel * times && a.element == b.element * times;
}

int64_t Loop::rows() const {
  int64_t rows = 1;
  for (int i = 0; i + 1 < dims; ++i) rows *= step[i].size;
  return rows;
}

Loop MergedAxes(const Mask& mask, const View& x, const View& y, bool needs_place) {
  const bool per_sample = mask.spec.over != Over::kTensor && mask.spec.normalize == Normalize::kKept;
  const int64_t sample = per_sample || needs_place ? 1 : 0;
  const int64_t channel = per_sample && mask.spec.over == Over::kPlane ? 1 : 0;
  std::array<Step, 5> all;
  all[0] = {x.samples, x.sample_stride, y.sample_stride, mask.sample_stride, sample, 0, 0};
  int64_t cells = 1;
  for (int i = 2; i >= 0; --i) {
    all[2 + i] = {x.size[i], x.stride[i], y.stride[i], mask.stride[i], 0, 0, needs_place ? cells : 0};
    cells *= x.size[i];
  }
  all[1] = {x.channels, x.channel_stride, y.channel_stride, mask.channel_stride, 0, channel, needs_place ? cells : 0};
  for (int i = 1; i < 5; ++i) {  // by insertion: std::stable_sort allocates
    for (int j = i; j > 0 && std::llabs(all[j - 1].y) < std::llabs(all[j].y); --j) std::swap(all[j - 1], all[j]);
  }
  Loop loop;
  for (const Step& step : all) {
    if (step.size == 1) continue;
    if (loop.dims > 0 && Follows(loop.step[loop.dims - 1], step)) {
      const int64_t size = loop.step[loop.dims - 1].size;
      loop.step[loop.dims - 1] = step;
      loop.step[loop.dims - 1].size *= size;
    } else {
      loop.step[loop.dims++] = step;
    }
  }
  if (loop.dims == 0) loop.step[loop.dims++] = {1, 1, 1, 1, 0, 0, 0};
  return loop;
}

}  // namespace dropkit
