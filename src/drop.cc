// The public verbs: validate, pick a backend, call it. Nothing is written before every check has passed.
#include <algorithm>
#include <cmath>

#include "backend.h"
#include "guarded.h"
#include "methods.h"
#include "plan.h"
#include "rate.h"
#include "validate.h"

namespace dropkit {
namespace {

// The backend that exec names, with scratch enough for these sizes.
Status ChooseBackend(const Spec& spec, const View& x, const Exec& exec, const Backend** backend) {
  if (Status status = FindBackend(exec, backend); !status.ok()) return status;
  return ValidateScratch(**backend, (*backend)->scratch_bytes(spec, x, exec), exec);
}

// Fills `described` for (spec, x) with the caller's pointers, which must suffice.
Status DescribeInto(const Spec& spec, Probability p, const View& x, const Mask* mask, Mask* described) {
  if (!mask) return Status::Invalid("mask = null; allowed: a mask whose pointers are set");
  *described = *mask;
  if (Status status = Describe(spec, x, described); !status.ok()) return status;
  if (Status status = ValidateProbability(p); !status.ok()) return status;
  return ValidateMaskPointers(*described);
}

}  // namespace

Status ScratchBytes(const Spec& spec, const View& x, const Exec& exec, size_t* bytes) {
  return Guarded([&] {
    if (!bytes) return Status::Invalid("bytes = null; allowed: a place for the number");
    Mask mask;
    if (Status status = Describe(spec, x, &mask); !status.ok()) return status;
    const Backend* backend;
    if (Status status = FindBackend(exec, &backend); !status.ok()) return status;
    *bytes = backend->scratch_bytes(spec, x, exec);
    return Status();
  });
}

namespace {

constexpr const char* kNoKey = "key = null; allowed: two words, seed and offset";

// What the verbs that write a mask share: `source` is the key or the bytes that it comes from, `missing` what to say
// when it is null, `run` the backend's function.
template <typename Run>
Status WriteMask(const Spec& spec, Probability p, const void* source, const char* missing, const View& x,
                 const Exec& exec, Mask* mask, Run run) {
  Mask described;
  if (Status status = DescribeInto(spec, p, x, mask, &described); !status.ok()) return status;
  if (!source && described.num_bits > 0) return Status::Invalid(missing);
  const Backend* backend;
  if (Status status = ChooseBackend(spec, x, exec, &backend); !status.ok()) return status;
  *mask = described;
  if (mask->num_bits > 0) return run(*backend);
  return backend->finish_empty(p, *mask, exec);
}

}  // namespace

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
  const auto run = [&](const Backend& backend) {
    mask->key = key;
    return backend.sample(spec, p, key, x, exec, mask);
  };
  return Guarded([&] { return WriteMask(spec, p, key, kNoKey, x, exec, mask, run); });
}

Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask) {
  const char* missing = "seeds = null; allowed: one byte a unit";
  const auto run = [&](const Backend& backend) { return backend.spread(spec, p, seeds, x, exec, mask); };
  return Guarded([&] { return WriteMask(spec, p, seeds, missing, x, exec, mask, run); });
}

Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask) {
  const char* missing = "keep = null; allowed: one byte an element";
  const auto run = [&](const Backend& backend) { return backend.pack(spec, p, keep, x, exec, mask); };
  return Guarded([&] {
    if (spec.method == Method::kDropout && spec.share == Share::kNone)
      return WriteMask(spec, p, keep, missing, x, exec, mask, run);
    return Status::Invalid("spec = " + PrintSpec(spec) +
                           "; allowed for Pack: dropout with share=none, a unit an element");
  });
}

namespace {

Status ApplyMask(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
  if (Status status = ValidateView("x", x, true); !status.ok()) return status;
  if (Status status = ValidateOutput(x, y); !status.ok()) return status;
  if (Status status = ValidatePass(pass); !status.ok()) return status;
  if (Status status = ValidateMask(mask, x); !status.ok()) return status;
  if (mask.spec.fill == Fill::kNoise && pass == Pass::kForward && !mask.key && ElementsOf(x) > 0) {
    return Status::Invalid("mask.key = null; allowed with fill=noise: the two words of the key");
  }
  const Backend* backend;
  if (Status status = ChooseBackend(mask.spec, x, exec, &backend); !status.ok()) return status;
  if (ElementsOf(x) == 0) return Status();
  return backend->apply(mask, pass, x, y, exec);
}

Status SampleAndApply(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y,
                      const Exec& exec, Mask* mask) {
  if (Status status = ValidateView("x", x, true); !status.ok()) return status;
  if (Status status = ValidateOutput(x, y); !status.ok()) return status;
  if (Status status = ValidatePass(pass); !status.ok()) return status;
  const auto run = [&](const Backend& backend) {
    mask->key = key;
    if (backend.drop) return backend.drop(spec, p, key, pass, x, y, exec, mask);
    if (Status status = backend.sample(spec, p, key, x, exec, mask); !status.ok()) return status;
    return backend.apply(*mask, pass, x, y, exec);
  };
  return WriteMask(spec, p, key, kNoKey, x, exec, mask, run);
}

}  // namespace

Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
  return Guarded([&] { return ApplyMask(mask, pass, x, y, exec); });
}

Status Drop(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
            Mask* mask) {
  return Guarded([&] { return SampleAndApply(spec, p, key, pass, x, y, exec, mask); });
}

namespace {

Status RatesOf(const Spec& spec, float p, const View& x, RateInfo* info) {
  Mask mask;
  if (Status status = Describe(spec, x, &mask); !status.ok()) return status;
  if (Status status = ValidateProbability(p); !status.ok()) return status;
  Plan plan;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  const Coverage coverage = MakeCoverage(plan);
  info->threshold = ThresholdOf(p);
  info->lane_threshold = plan.cells == 0 ? info->threshold : LaneThreshold(spec, plan, coverage, info->threshold);
  info->gamma = static_cast<double>(info->lane_threshold) / kTwo32;
  info->expected_drop = plan.cells == 0 ? 0.0 : 1.0 - ExpectedKept(spec, plan, coverage, info->lane_threshold);
  info->lanes = plan.lanes;
  for (int i = 0; i < 3; ++i) {
    info->block[i] = plan.axis[i].block;
    info->positions[i] = plan.axis[i].positions;
    info->before[i] = plan.axis[i].before;
  }
  return Status();
}

// The numbers as Apply uses them: one rounding to f32, for f64 tensors none.
Gain RoundedGain(double a, double d, DType dtype) {
  if (dtype == DType::kF64) return {a, 0.0, 0.0, d};
  return {static_cast<double>(static_cast<float>(a)), 0.0, 0.0, static_cast<double>(static_cast<float>(d))};
}

Status GainOfMask(const Mask& mask, Pass pass, int64_t n, int64_t c, DType dtype, Gain* gain) {
  const Spec& spec = mask.spec;
  const View x = ShapeOf(mask);
  if (Status status = ValidateMask(mask, x); !status.ok()) return status;
  if (n < 0 || n >= mask.samples) return Status::Invalid("n = " + std::to_string(n) + "; allowed: 0 to samples - 1");
  if (c < 0 || c >= mask.channels) return Status::Invalid("c = " + std::to_string(c) + "; allowed: 0 to channels - 1");
  const double d = FillOf(spec, pass);
  if (ElementsOf(x) == 0) {
    *gain = RoundedGain(1.0, d, dtype);
    return Status();
  }
  if (*mask.threshold > kOne) {
    *gain = RoundedGain(NAN, NAN, dtype);
    return Status();
  }
  Plan plan;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  *gain = RoundedGain(GainFactor(spec, plan, MakeCoverage(plan), *mask.threshold, KeptFor(mask, n, c)), d, dtype);
  return Status();
}

}  // namespace

Status Rates(const Spec& spec, float p, const View& x, RateInfo* info) {
  return Guarded([&] {
    return info ? RatesOf(spec, p, x, info) : Status::Invalid("info = null; allowed: a place for the numbers");
  });
}

Status GainOf(const Mask& mask, Pass pass, int64_t n, int64_t c, DType dtype, Gain* gain) {
  return Guarded([&] {
    return gain ? GainOfMask(mask, pass, n, c, dtype, gain)
                : Status::Invalid("gain = null; allowed: a place for the numbers");
  });
}

}  // namespace dropkit
