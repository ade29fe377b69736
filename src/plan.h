// Geometry: what a spec means on given sizes. Units and their lanes, the block on each axis, coverage. Integers only,
// made on the host from sizes alone (never from p, the key or the data); the same plan serves every backend.
#ifndef DROPKIT_SRC_PLAN_H_
#define DROPKIT_SRC_PLAN_H_

#include <algorithm>
#include <cstdint>

#include "draw.h"
#include "dropkit/dropkit.h"

namespace dropkit {

// Position u of an axis covers [u - before, u - before + block), cut to [0, size).
struct Axis {
  int64_t size = 1, block = 1, positions = 1, before = 0;
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

// Whether this spec's numbers need the coverage of cells at all.
inline bool NeedsCoverage(const Spec& spec) {
  return HasBlock(spec) && (spec.normalize == Normalize::kExpected ||
                            (spec.method == Method::kDropBlock && spec.rate == Rate::kCalibrated));
}

// `number` cells of an axis are covered by `coverage` positions each.
struct CoverageClass {
  int64_t coverage, number;
};

// The distinct coverages of an axis, ascending, by a formula: a kernel takes them as an argument. Along the axis
// coverage rises by one a cell from `left`, stays at its most, and falls by one a cell to `right`, if those are below
// it.
struct CoverageAxis {
  int64_t count = 0;  // classes
  int64_t lowest = 0, left = 0, right = 0, number_of_most = 0;

  DROPKIT_HOST_DEVICE CoverageClass operator[](int64_t i) const {
    const int64_t coverage = lowest + i;
    if (i == count - 1) return {coverage, number_of_most};
    return {coverage, static_cast<int64_t>(coverage >= left) + static_cast<int64_t>(coverage >= right)};
  }
};
struct Coverage {
  CoverageAxis axis[3];
};

// Of an axis on which every cell is covered, as on all that MakePlan makes.
inline CoverageAxis CoverageOf(const Axis& axis) {
  CoverageAxis classes;
  if (axis.size == 0) return classes;
  const int64_t most = std::min(axis.positions, axis.block);
  classes.left = axis.before + 1;
  classes.right = axis.positions + axis.block - axis.before - axis.size;
  classes.lowest = std::min({classes.left, classes.right, most});
  classes.count = most - classes.lowest + 1;
  classes.number_of_most =
      axis.size - std::max<int64_t>(0, most - classes.left) - std::max<int64_t>(0, most - classes.right);
  return classes;
}
inline Coverage MakeCoverage(const Plan& plan) {
  return {{CoverageOf(plan.axis[0]), CoverageOf(plan.axis[1]), CoverageOf(plan.axis[2])}};
}

}  // namespace dropkit

#endif  // DROPKIT_SRC_PLAN_H_
