// Rows by argument: spec, p, pointers, x, y, exec, then the mask that Apply reads. `fits` is for tensors with elements
// only (random_case.cc and run_case.cc see to that): without any, most pointers may be null.
#include "cli/check/spoil.h"

#include <cmath>
#include <limits>

namespace dropkit::check {
namespace {

constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();

template <typename Enum>
Enum None() {
  return static_cast<Enum>(77);
}

bool Always(const Case&) { return true; }
bool HostP(const Case& c) { return !c.p_in_memory; }
bool IsDropBlock(const Case& c) { return c.spec.method == Method::kDropBlock; }
bool Gives(const Case& c) { return c.verb == Verb::kSpread || c.verb == Verb::kPack; }
bool Draws(const Case& c) { return !Gives(c); }
bool ReadsX(const Case& c) { return c.verb == Verb::kDrop; }
bool HasMap(const Case& c) { return c.spatial_dims > 0; }
bool IsDenseApart(const Case& c) {
  const Order& x = c.x;
  return ReadsX(c) && !c.in_place && c.Elements() > 1 && x.step == 1 && x.pad == 0 && x.expanded == 0;
}
bool MovesChannels(const Case& c) { return ReadsX(c) && c.in_place && c.sizes[1] > 1; }
bool Noisy(const Case& c) { return c.spec.fill == Fill::kNoise && c.pass == Pass::kForward; }
bool ManySamples(const Case& c) { return c.sizes[0] > 1; }

uint8_t* BytePointer(void* data) { return static_cast<uint8_t*>(data); }

std::vector<Spoil> SpecRows() {
  constexpr Stage kVerb = Stage::kVerb;
  return {
      {"spec.method", kVerb, Always, [](Call* call) { call->spec.method = None<Method>(); }},
      {"spec.share", kVerb, Always, [](Call* call) { call->spec.share = None<Share>(); }},
      {"spec.normalize", kVerb, Always, [](Call* call) { call->spec.normalize = None<Normalize>(); }},
      {"spec.over", kVerb, Always, [](Call* call) { call->spec.over = None<Over>(); }},
      {"spec.fill", kVerb, Always, [](Call* call) { call->spec.fill = None<Fill>(); }},
      {"spec.fill_value", kVerb, Always, [](Call* call) { call->spec.fill_value = NAN; }},
      {"spec.region", kVerb, Always, [](Call* call) { call->spec.region = None<Region>(); }},
      {"spec.rate", kVerb, Always, [](Call* call) { call->spec.rate = None<Rate>(); }},
      {"spec.anchor", kVerb, Always, [](Call* call) { call->spec.anchor = None<Anchor>(); }},
      {"spec.clip", kVerb, Always, [](Call* call) { call->spec.clip = None<Clip>(); }},
      {"spec.extent.0", kVerb, Always, [](Call* call) { call->spec.extent[0] = 0; }},
      {"spec.extent.huge", kVerb, Always, [](Call* call) { call->spec.extent[0] = (int64_t{1} << 20) + 1; }},
      {"spec.extent.negative", kVerb, Always, [](Call* call) { call->spec.extent[2] = -3; }},
      {"spec.extent_dims", kVerb, Always, [](Call* call) { call->spec.extent_dims = 4; }},
      {"spec.holes.0", kVerb, Always, [](Call* call) { call->spec.holes = 0; }},
      {"spec.holes.huge", kVerb, Always, [](Call* call) { call->spec.holes = 65536; }},
      {"spec.gamma_scale.nan", kVerb, Always, [](Call* call) { call->spec.gamma_scale = NAN; }},
      {"spec.gamma_scale.inf", kVerb, Always, [](Call* call) { call->spec.gamma_scale = INFINITY; }},
      {"spec.calibrated-scaled", kVerb, Always,
       [](Call* call) {
         call->spec.rate = Rate::kCalibrated;
         call->spec.gamma_scale = 2.0;
       }},
      {"spec.after-valid", kVerb, IsDropBlock,
       [](Call* call) {
         call->spec.anchor = Anchor::kAfter;
         call->spec.region = Region::kValid;
       }},
      {"p.nan", kVerb, HostP, [](Call* call) { call->p = NAN; }},
      {"p.inf", kVerb, HostP, [](Call* call) { call->p = INFINITY; }},
      {"p.negative", kVerb, HostP, [](Call* call) { call->p = -0x1p-149f; }},
      {"p.above-1", kVerb, HostP, [](Call* call) { call->p = std::nextafter(1.0f, 2.0f); }},
  };
}

std::vector<Spoil> VerbRows() {
  constexpr Stage kVerb = Stage::kVerb;
  return {
      {"key.null", kVerb, Draws, [](Call* call) { call->key = nullptr; }},
      {"bytes.null", kVerb, Gives, [](Call* call) { call->bytes = nullptr; }},
      {"mask.null", kVerb, Always, [](Call* call) { call->mask = nullptr; }},
      {"mask.bits.null", kVerb, Always, [](Call* call) { call->mask->bits = nullptr; }},
      {"mask.kept.null", kVerb, Always, [](Call* call) { call->mask->kept = nullptr; }},
      {"mask.threshold.null", kVerb, Always, [](Call* call) { call->mask->threshold = nullptr; }},
      {"pack.not-dropout", kVerb, [](const Case& c) { return c.verb == Verb::kPack; },
       [](Call* call) { call->spec.share = Share::kBatch; }},
      {"x.data.null", kVerb, ReadsX, [](Call* call) { call->x.data = nullptr; }},
      {"x.dtype", kVerb, Always, [](Call* call) { call->x.dtype = None<DType>(); }},
      {"x.spatial_dims.4", kVerb, Always, [](Call* call) { call->x.spatial_dims = 4; }},
      {"x.spatial_dims.negative", kVerb, Always, [](Call* call) { call->x.spatial_dims = -1; }},
      {"x.samples", kVerb, Always, [](Call* call) { call->x.samples = -1; }},
      {"x.channels", kVerb, Always, [](Call* call) { call->x.channels = -kHuge; }},
      {"x.channels.huge", kVerb, Always, [](Call* call) { call->x.channels = kHuge; }},
      {"x.samples.huge", kVerb, Always, [](Call* call) { call->x.samples = kHuge; }},
      {"x.size", kVerb, HasMap, [](Call* call) { call->x.size[0] = -1; }},
      {"x.size.unused", kVerb, [](const Case& c) { return c.spatial_dims < 3; },
       [](Call* call) { call->x.size[2] = 2; }},
      {"x.first_sample.negative", kVerb, Always, [](Call* call) { call->x.first_sample = -1; }},
      {"x.first_sample.huge", kVerb, Always, [](Call* call) { call->x.first_sample = kHuge; }},
      {"x.strides.huge", kVerb, ManySamples, [](Call* call) { call->x.sample_stride = kHuge; }},
      {"x.strides.least", kVerb, Always, [](Call* call) { call->x.channel_stride = -kHuge - 1; }},
      {"pass", kVerb, ReadsX, [](Call* call) { call->pass = None<Pass>(); }},
      {"y.data.null", kVerb, ReadsX, [](Call* call) { call->y.data = nullptr; }},
      {"y.dtype.other", kVerb, ReadsX,
       [](Call* call) { call->y.dtype = call->x.dtype == DType::kF32 ? DType::kF16 : DType::kF32; }},
      {"y.samples", kVerb, ReadsX, [](Call* call) { --call->y.samples; }},
      {"y.stride.0", kVerb, [](const Case& c) { return ReadsX(c) && ManySamples(c); },
       [](Call* call) { call->y.sample_stride = 0; }},
      {"y.other-order", kVerb, MovesChannels, [](Call* call) { ++call->y.channel_stride; }},
      {"y.overlaps", kVerb, IsDenseApart,
       [](Call* call) {  // the same places, but for one element further
         call->y = call->x;
         call->y.data = BytePointer(call->x.data) + SizeOf(call->x.dtype);
       }},
      {"exec.backend", kVerb, Always, [](Call* call) { call->exec.backend = "no such backend"; }},
      {"exec.scratch.short", kVerb, [](const Case& c) { return c.own_scratch; },
       [](Call* call) {  // where none is needed none is too few, but an odd address is still wrong
         if (call->exec.scratch_bytes == 0) call->exec.scratch = BytePointer(call->exec.scratch) + 1;
         if (call->exec.scratch_bytes > 0) --call->exec.scratch_bytes;
       }},
      {"exec.scratch.odd", kVerb, [](const Case& c) { return c.own_scratch; },
       [](Call* call) { call->exec.scratch = BytePointer(call->exec.scratch) + 1; }},
  };
}

std::vector<Spoil> ApplyRows() {
  constexpr Stage kApply = Stage::kApply;
  return {
      {"apply.pass", kApply, Always, [](Call* call) { call->pass = None<Pass>(); }},
      {"apply.x.data.null", kApply, Always, [](Call* call) { call->x.data = nullptr; }},
      {"apply.y.data.null", kApply, Always, [](Call* call) { call->y.data = nullptr; }},
      {"apply.mask.spec", kApply, Always, [](Call* call) { call->mask->spec.method = None<Method>(); }},
      {"apply.mask.bits.null", kApply, Always, [](Call* call) { call->mask->bits = nullptr; }},
      {"apply.mask.kept.null", kApply, Always, [](Call* call) { call->mask->kept = nullptr; }},
      {"apply.mask.threshold.null", kApply, Always, [](Call* call) { call->mask->threshold = nullptr; }},
      {"apply.mask.key.null", kApply, Noisy, [](Call* call) { call->mask->key = nullptr; }},
      {"apply.mask.samples", kApply, Always, [](Call* call) { ++call->mask->samples; }},
      {"apply.mask.channels", kApply, Always, [](Call* call) { ++call->mask->channels; }},
      {"apply.mask.spatial_dims", kApply, Always, [](Call* call) { call->mask->spatial_dims = 1 << 20; }},
      {"apply.mask.num_bits", kApply, Always, [](Call* call) { --call->mask->num_bits; }},
      {"apply.mask.num_kept", kApply, Always, [](Call* call) { call->mask->num_kept += 1; }},
      {"apply.mask.strides", kApply, Always, [](Call* call) { call->mask->channel_stride = -1; }},
      {"apply.mask.strides.huge", kApply, ManySamples, [](Call* call) { call->mask->sample_stride = kHuge; }},
  };
}

std::vector<Spoil> AllRows() {
  std::vector<Spoil> all = SpecRows();
  for (const Spoil& row : VerbRows()) all.push_back(row);
  for (const Spoil& row : ApplyRows()) all.push_back(row);
  return all;
}

}  // namespace

const std::vector<Spoil>& Spoils() {
  static const auto* rows = new std::vector<Spoil>(AllRows());
  return *rows;
}

const Spoil* FindSpoil(const std::string& name) {
  for (const Spoil& row : Spoils()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

}  // namespace dropkit::check
