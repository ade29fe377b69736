#include "plan.h"

#include <algorithm>
#include <string>

#include "methods.h"

namespace dropkit {
namespace {

std::string SizesText(const View& x) {
  std::string text;
  for (int i = 0; i < x.spatial_dims; ++i) text += (i ? "x" : "") + std::to_string(x.size[i]);
  return text.empty() ? "(no spatial sizes)" : text;
}

// The block after clip=. `smallest` is the smallest size of the map.
int64_t ClippedBlock(const Spec& spec, int64_t size, int64_t block, int64_t smallest) {
  if (spec.method == Method::kCutout) return spec.region == Region::kValid ? std::min(block, size) : block;
  switch (spec.clip) {
    case Clip::kAxis:
      return std::min(block, size);
    case Clip::kSquare:
      return std::min(block, smallest);
    default:
      return block;
  }
}

int64_t BeforeOf(const Spec& spec, int64_t block) {
  if (spec.region == Region::kValid) return 0;
  if (spec.method == Method::kCutout || block % 2 == 1 || spec.anchor == Anchor::kBefore) return block / 2;
  return block / 2 - 1;
}

Status FillAxes(const Spec& spec, const View& x, Plan* plan) {
  if (spec.extent_dims > 1 && spec.extent_dims != x.spatial_dims) {
    return Status::Invalid("spec: block or size " + ExtentText(spec) + " has " + std::to_string(spec.extent_dims) +
                           " numbers; allowed for this tensor: 1, or " + std::to_string(x.spatial_dims) +
                           ", one per spatial dimension");
  }
  int64_t smallest = INT64_MAX;
  for (int i = 0; i < x.spatial_dims; ++i) smallest = std::min(smallest, x.size[i]);
  for (int i = 0; i < x.spatial_dims; ++i) {
    Axis& axis = plan->axis[i];
    if (spec.method == Method::kDropBlock && spec.clip == Clip::kError && spec.extent[i] > axis.size && axis.size > 0) {
      return Status::Invalid("spec: block=" + ExtentText(spec) + " is larger than the map " + SizesText(x) +
                             " and clip=error; allowed: a block that fits, or clip=axis, square, none");
    }
    axis.block = ClippedBlock(spec, axis.size, spec.extent[i], smallest);
    const int64_t valid = axis.size - axis.block + 1;
    const bool needs_valid =
        spec.method == Method::kDropBlock && (spec.region == Region::kValid || spec.rate == Rate::kPaper);
    if (needs_valid && valid < 1 && axis.size > 0) {
      return Status::Invalid(
          "spec: block=" + ExtentText(spec) + " has no valid position on the map " + SizesText(x) +
          " with clip=none; allowed: a block that fits, clip=axis or square, or region=whole with rate=" +
          "calibrated, plain, raw");
    }
    axis.before = BeforeOf(spec, axis.block);
    axis.positions = spec.region == Region::kValid ? std::max<int64_t>(valid, 0) : axis.size;
    plan->valid_positions *= std::max<int64_t>(valid, 0);
    plan->block_cells *= axis.block;
    plan->positions *= axis.positions;
  }
  return Status();
}

// What the law's word sizes and 64-bit products cannot hold.
Status CheckLimits(const Spec& spec, const View& x, const Plan& plan) {
  const bool draws_centres = RowOf(spec.method).unit == Unit::kHole;
  __int128 covered = plan.cells;
  for (const Axis& axis : plan.axis) {
    covered *= axis.block;
    if (draws_centres && axis.positions > (int64_t{1} << 32)) {
      return Status::Invalid("spec: cutout on an axis of " + std::to_string(axis.size) +
                             "; allowed: at most 2^32 positions");
    }
  }
  if (NeedsCoverage(spec) && covered > INT64_MAX) {
    return Status::Invalid(
        "spec: block=" + ExtentText(spec) + " on the map " + SizesText(x) +
        "; allowed with rate=calibrated or normalize=expected: cells of the map times cells of the block below 2^63");
  }
  if (draws_centres && plan.lanes > (int64_t{1} << 32)) {
    return Status::Invalid("spec: holes=" + std::to_string(spec.holes) + " in each of " +
                           std::to_string(plan.lane_channels) + " channels; allowed: at most 2^32 holes a sample");
  }
  return Status();
}

}  // namespace

Status MakePlan(const Spec& spec, const View& x, Plan* plan) {
  *plan = Plan();
  for (int i = 0; i < x.spatial_dims; ++i) {
    plan->axis[i].size = plan->axis[i].positions = x.size[i];
    plan->cells *= x.size[i];
  }
  const Unit unit = RowOf(spec.method).unit;
  plan->shares_batch = spec.share == Share::kBatch || spec.share == Share::kAll;
  plan->shares_channels = spec.share == Share::kChannels || spec.share == Share::kAll || unit == Unit::kSample;
  plan->has_map = unit != Unit::kChannel && unit != Unit::kSample;
  plan->lane_channels = plan->shares_channels ? 1 : x.channels;
  plan->lanes_per_channel = plan->has_map ? plan->cells : 1;
  plan->has_blocks = HasBlock(spec);
  if (plan->has_blocks) {
    if (Status status = FillAxes(spec, x, plan); !status.ok()) return status;
    plan->lanes_per_channel = unit == Unit::kHole ? spec.holes : plan->positions;
  }
  plan->lanes = plan->lane_channels * plan->lanes_per_channel;
  return CheckLimits(spec, x, *plan);
}

}  // namespace dropkit
