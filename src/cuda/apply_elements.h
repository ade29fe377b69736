// Apply for all that is not dense: any strides, gains that change from element to element, fill=noise, a mask that does
// not start at a 16-byte boundary.
//
// Memory plan: one element a thread at a time, numbered in the memory order of y; its place in x, y and the mask by
// division along the merged axes (loop.h). Neighbouring threads write neighbouring elements of y.
#ifndef DROPKIT_SRC_CUDA_APPLY_ELEMENTS_H_
#define DROPKIT_SRC_CUDA_APPLY_ELEMENTS_H_

#include "cuda/apply_dense.h"

namespace dropkit::cuda {

struct ElementsJob {
  const void* x;
  void* y;
  int64_t elements = 0;
  Loop loop;
  Quotient size[5];     // of loop.step
  bool narrow = false;  // all element numbers are below 2^31
  bool noise = false;
  GainLaw law;
};

struct Place {
  int64_t x = 0, y = 0, bit = 0, sample = 0, channel = 0, element = 0;
};

template <typename Number>
DROPKIT_DEVICE Place PlaceOf(const ElementsJob& job, Number e) {
  Place place;
  DROPKIT_UNROLL
  for (int i = 4; i >= 0; --i) {
    if (i >= job.loop.dims) continue;
    const Step& step = job.loop.step[i];
    const Number rest = i == 0 ? 0 : job.size[i].Of(e);
    const int64_t at = e - rest * static_cast<Number>(step.size);
    place.x += at * step.x;
    place.y += at * step.y;
    place.bit += at * step.bit;
    place.sample += at * step.sample;
    place.channel += at * step.channel;
    place.element += at * step.element;
    e = rest;
  }
  return place;
}

// What a dropped element becomes with fill=noise.
DROPKIT_DEVICE double NoiseAt(const Mask& mask, CallKey key, const Place& place) {
  const bool shared = mask.spec.share == Share::kBatch || mask.spec.share == Share::kAll;
  return NoiseOf(key, place.element, shared ? 0 : static_cast<uint64_t>(mask.first_sample + place.sample));
}

template <typename T>
__global__ void __launch_bounds__(kBlockThreads, 3) ApplyElements(const __grid_constant__ ElementsJob job) {
  const Mask& mask = job.law.mask;
  const Maps<T> of_block = MapsOfBlock<T>(job.law, 0, 0);
  const bool good = *mask.threshold <= kOne;
  const bool has_rows = good && job.law.has_rows(), noise = good && job.noise;
  const CallKey noise_key = noise ? MakeCallKey(mask.key[0], mask.key[1], Tag::kNoise) : CallKey{};
  const int64_t first = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  for (int64_t e = first; e < job.elements; e += static_cast<int64_t>(gridDim.x) * blockDim.x) {
    const Place place = job.narrow ? PlaceOf(job, static_cast<uint32_t>(e)) : PlaceOf(job, e);
    const bool keep = GetBit(mask.bits, place.bit);
    Maps<T> maps = of_block;
    if (has_rows) maps.gain = static_cast<Wide<T>>(KeptGain(KeptFor(mask, place.sample, place.channel)));
    if (noise && !keep) maps.fill = static_cast<Wide<T>>(NoiseAt(mask, noise_key, place));
    static_cast<T*>(job.y)[place.y] = MapElement<T>(static_cast<const T*>(job.x)[place.x], keep, maps);
  }
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_APPLY_ELEMENTS_H_
