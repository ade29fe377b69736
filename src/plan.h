// Geometry: what a spec means on given sizes. Units and their lanes, the block on each axis, coverage. Integers only,
// made on the host from sizes alone (never from p, the key or the data); the same plan serves every backend.
#ifndef DROPKIT_SRC_PLAN_H_
#define DROPKIT_SRC_PLAN_H_

#include <cstdint>

#include "dropkit/dropkit.h"

namespace dropkit {

// Position u of an axis covers [u - before, u - before + block), cut to [0, size).
struct Axis {
  int64_t size = 1, block = 1, positions = 1, before = 0;
};

// `number` cells of an axis are covered by `coverage` positions each.
struct CoverageClass {
  int64_t coverage, number;
};

struct Plan {
  Axis axis[3];                                        // missing axes come last and are all ones
  int64_t cells = 1;                                   // of the map
  int64_t block_cells = 1;                             // product of block
  int64_t positions = 1;                               // product of axis positions: where a seed or centre may be
  int64_t valid_positions = 1;                         // product of size - block + 1, as rate=paper counts them
  bool shares_batch = false, shares_channels = false;  // of the drawn units (a sample's unit shares channels)
  bool has_map = true;                                 // a mask has a bit per cell, not one for a whole map
  bool has_blocks = false;                             // a unit drops a block or square of the map
  int64_t lane_channels = 1;
  int64_t lanes_per_channel = 1;  // M of docs/draws.md
  int64_t lanes = 1;              // L: units a sample
};

// Errors: block sizes for another number of dimensions, clip=error, no valid position.
Status MakePlan(const Spec& spec, const View& x, Plan* plan);

// The distinct coverages of each axis, ascending, in memory of whoever runs.
struct Coverage {
  const CoverageClass* axis[3];
  int64_t count[3];
};
// Whether this spec's numbers need the coverage classes at all.
inline bool NeedsCoverage(const Spec& spec) {
  return HasBlock(spec) && (spec.normalize == Normalize::kExpected ||
                            (spec.method == Method::kDropBlock && spec.rate == Rate::kCalibrated));
}

// How many classes the three axes have at most: min(block, size) each.
int64_t MostClasses(const Plan& plan);
// Finds them; `storage` holds MostClasses(plan).
Coverage MakeCoverage(const Plan& plan, CoverageClass* storage);

}  // namespace dropkit

#endif  // DROPKIT_SRC_PLAN_H_
