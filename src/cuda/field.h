// What a sampling kernel draws, and the block's own copy of what it needs of it at every step.
//
// A host p's lanes are planned on the host; a p in the device's memory is read, and its tables made, by each block with
// the same functions (draw.h, rate.h), so both give the same bits.
#ifndef DROPKIT_SRC_CUDA_FIELD_H_
#define DROPKIT_SRC_CUDA_FIELD_H_

#include <algorithm>

#include "cuda/block_memory.h"
#include "cuda/class_sums.h"
#include "cuda/grid.h"
#include "cuda/quotient.h"
#include "draw.h"
#include "plan.h"
#include "rate.h"

namespace dropkit::cuda {

// Lanes are drawn by the tile of 512 (the overlay) and by the group of 128 (digits).
inline constexpr int kGroupLanes = 128;

struct Field {
  Spec spec;
  Plan plan;
  Coverage coverage;
  Axis axis[3];  // plan's, missing axes first, so that the last one's cells follow each other
  int missing_axes = 1;
  int outer_axis = 1;  // the first that is not missing
  // Of the plan and the axes, to divide by. The outer axis's step is a row of the map, or a plane.
  Quotient lanes_of_channel, tiles_of_sample, groups_of_sample, positions[3], cells_of_outer_step;
  int64_t lanes_of_outer_step = 1;
  Key key = nullptr;               // null where the lanes are given
  const float* p = nullptr;        // of device memory; null: what follows holds
  uint64_t threshold = 0;          // T
  LaneLaw law;                     // of T
  const uint8_t* given = nullptr;  // a byte a lane, [samples][lanes]
  bool given_marks_kept = false;   // Pack: a zero byte fires
  bool draws_centres = false;      // cutout's
  uint64_t first_sample = 0;
};

// The fields of a mask's own draws in the block's shared memory: plain bytes, because shared memory runs no
// constructors.
struct Drawn {
  uint64_t threshold, lane_threshold;  // T, and of a p in memory Q
  CallKey key[3];                      // digits, overlay, centres
  alignas(8) unsigned char law_bytes[sizeof(LaneLaw)];
  DROPKIT_DEVICE const LaneLaw& law() const { return *reinterpret_cast<const LaneLaw*>(law_bytes); }
  DROPKIT_DEVICE CallKey digits_key() const { return key[0]; }
  DROPKIT_DEVICE CallKey overlay_key() const { return key[1]; }
  DROPKIT_DEVICE CallKey centres_key() const { return key[2]; }
};

// Sums in the memory of bits that are not drawn yet.
DROPKIT_DEVICE BlockSums SumsBeforeDrawing() { return BlockSums(Memory().bits, sizeof(Memory().bits)); }

// The whole block; `drawn` is ready when it returns.
DROPKIT_DEVICE_CALL void PrepareDrawn(const Field& field, Drawn* drawn) {
  const unsigned thread = threadIdx.x, first_of_keys = blockDim.x > 32 ? 32 : 1;  // another warp does not wait
  const uint64_t threshold = field.p ? ThresholdOf(*field.p) : field.threshold;
  if (thread == 0) drawn->threshold = threshold;
  if (!field.p || field.given) {
    auto* to = reinterpret_cast<uint32_t*>(drawn->law_bytes);
    const auto* from = reinterpret_cast<const uint32_t*>(&field.law);
    for (unsigned i = thread; i < sizeof(LaneLaw) / sizeof(uint32_t); i += blockDim.x) to[i] = from[i];
  } else {
    const uint64_t good = threshold > kOne ? 0 : threshold;
    const uint64_t q = LaneThreshold(field.spec, field.plan, field.coverage, good, SumsBeforeDrawing());
    if (thread == 0) {
      drawn->lane_threshold = q;
      *reinterpret_cast<LaneLaw*>(drawn->law_bytes) = MakeLaneLaw(q);
    }
  }
  if (thread - first_of_keys < 3 && field.key) {
    const unsigned i = thread - first_of_keys;
    drawn->key[i] = MakeCallKey(field.key[0], field.key[1], static_cast<Tag>(i + 1));
  }
  __syncthreads();
}
static_assert(sizeof(LaneLaw) % sizeof(uint32_t) == 0 && alignof(LaneLaw) >= alignof(uint32_t));
static_assert(static_cast<int>(Tag::kDigits) == 1 && static_cast<int>(Tag::kCentres) == 3);

DROPKIT_DEVICE uint64_t GlobalSample(const Field& field, int64_t n) {
  return field.plan.shares_batch ? 0 : field.first_sample + static_cast<uint64_t>(n);
}

// Of the field's plan as it is now.
inline void SetQuotients(Field* field) {
  field->lanes_of_channel = Quotient::By(field->plan.lanes_per_channel);
  field->tiles_of_sample = Quotient::By((field->plan.lanes + kTileLanes - 1) / kTileLanes);
  field->groups_of_sample = Quotient::By((field->plan.lanes + kGroupLanes - 1) / kGroupLanes);
  const Axis& outer = field->axis[field->outer_axis];
  field->cells_of_outer_step = Quotient::By(std::max<int64_t>(1, field->plan.cells / outer.size));
  field->lanes_of_outer_step = field->plan.lanes_per_channel / outer.positions;
  for (int i = 0; i < 3; ++i) field->positions[i] = Quotient::By(field->axis[i].positions);
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_FIELD_H_
