// The reference always gets the plain form of a case: Sample and Apply, in one part, on this thread. So a fused, split
// or threaded run of the target is held against it as well.
#include "cli/check/run_case.h"

#include <cmath>
#include <vector>

#include "cli/check/call.h"
#include "cli/check/compare.h"
#include "cli/check/mirror.h"
#include "cli/check/spoil.h"

namespace dropkit::check {
namespace {

const Target& Reference() {
  static const auto* target = new Target{.backend = "reference"};
  return *target;
}

// The library's functions that a case calls.
enum class Action : uint8_t { kSample, kSpread, kPack, kApply, kDrop };

Action WritingAction(Verb verb) {
  if (verb == Verb::kDrop) return Action::kDrop;
  if (verb == Verb::kSpread) return Action::kSpread;
  return verb == Verb::kPack ? Action::kPack : Action::kSample;
}

Status Do(const Target& target, Action action, const Call& call) {
  switch (action) {
    case Action::kSample:
      return target.sample(call.spec, call.p, call.key, call.x, call.exec, call.mask);
    case Action::kSpread:
      return target.spread(call.spec, call.p, call.bytes, call.x, call.exec, call.mask);
    case Action::kPack:
      return target.pack(call.spec, call.p, call.bytes, call.x, call.exec, call.mask);
    case Action::kApply:
      return target.apply(*call.mask, call.pass, call.x, call.y, call.exec);
    case Action::kDrop:
      break;
  }
  return target.drop(call.spec, call.p, call.key, call.pass, call.x, call.y, call.exec, call.mask);
}

// Whether y's elements are all that its memory has: between them other bytes must stay, and a part leaves the rest.
bool IsWholeOutput(const View& y, Bench* bench) {
  const int64_t elements = y.samples * y.channels * y.size[0] * y.size[1] * y.size[2];
  return static_cast<size_t>(elements) * SizeOf(y.dtype) == bench->output().bytes();
}

// Addresses in the memory that a sound call writes all of, and does not read.
std::vector<const void*> WrittenBy(Action action, const Call& call, Bench* bench) {
  std::vector<const void*> written;
  if (action != Action::kApply) written = {call.mask->bits, call.mask->kept, call.mask->threshold};
  const bool makes_y = action == Action::kApply || action == Action::kDrop;
  if (makes_y && call.y.data != call.x.data && IsWholeOutput(call.y, bench)) written.push_back(call.y.data);
  return written;
}

enum class Expected : uint8_t { kDone, kRefused };

// Where the target's memory is: on the host as it stands, or on its device with all that the call can reach.
Status Do(const Target& target, Action action, const Call& call, Bench* bench, Expected expected = Expected::kDone) {
  if (target.device == nullptr) return Do(target, action, call);
  const bool is_done = expected == Expected::kDone;  // else nothing is written, which is seen by what was there
  Mirror mirror(*target.device, bench->Memory(), is_done ? WrittenBy(action, call, bench) : std::vector<const void*>());
  Mask mask;
  const Status status = Do(target, action, mirror.There(call, &mask));
  if (call.mask) *call.mask = mirror.Here(mask);
  const Status returned = mirror.Return(&bench->damage_elsewhere);
  if (returned.ok()) return status;
  // A launch that went well tells nothing of the work; no other call may follow on a device that is lost.
  bench->damage_elsewhere = returned.message();
  return returned;
}

// Why a sound call did not do its work; what came of it on a device says more than the error does.
std::string Failed(const char* how, const Status& status, const Bench& bench) {
  return bench.damage_elsewhere.empty() ? how + status.message() : bench.damage_elsewhere;
}

// Samples [first, first + count) of a view.
View Part(View x, int64_t first, int64_t count) {
  if (x.data) x.data = static_cast<uint8_t*>(x.data) + first * x.sample_stride * static_cast<int64_t>(SizeOf(x.dtype));
  x.first_sample += first;
  x.samples = count;
  return x;
}

// Counts of the parts, one after the other or summed to one, into the whole's place; T of the first.
void JoinCounts(bool one_count, int64_t sum, Bench* bench) {
  int64_t* kept = bench->whole.kept.as<int64_t>();
  if (one_count) *kept = sum;
  for (const auto& part : bench->parts) {
    if (!one_count) kept = std::copy_n(part->kept.as<int64_t>(), part->mask.num_kept, kept);
  }
  *bench->whole.threshold.as<uint64_t>() = *bench->parts[0]->threshold.as<uint64_t>();
}

// As ranks do it: each draws its part, counts over the tensor are summed, each applies its part.
Status RunParts(const Case& c, const Target& target, Bench* bench) {
  const int64_t firsts[] = {0, c.cut, c.sizes[0]};
  int64_t& sum = *bench->sum().as<int64_t>();
  sum = 0;
  for (int i = 0; i < 2; ++i) {
    Call call = bench->call;
    call.x = Part(call.x, firsts[i], firsts[i + 1] - firsts[i]);
    bench->parts.push_back(std::make_unique<MaskMemory>(call.spec, call.x, c.one_count));
    MaskMemory& part = *bench->parts.back();
    if (!part.described.ok()) return part.described;
    call.mask = &part.mask;
    part.mask.key = call.key;
    if (Status status = Do(target, Action::kSample, call, bench); !status.ok()) return status;
    for (int64_t n = 0; n < part.mask.num_kept; ++n) sum += part.mask.kept[n];
  }
  JoinCounts(c.one_count, sum, bench);
  for (int i = 0; i < 2; ++i) {
    Mask mask = bench->parts[i]->mask;
    if (c.spec.over == Over::kTensor) {
      mask.kept = &sum;
      mask.num_kept = 1;
      mask.total = bench->whole.mask.total;
    }
    const int64_t count = firsts[i + 1] - firsts[i];
    Call call = bench->call;
    call.x = Part(call.x, firsts[i], count);
    call.y = Part(call.y, firsts[i], count);
    call.mask = &mask;
    if (Status status = Do(target, Action::kApply, call, bench); !status.ok()) return status;
  }
  return Status();
}

Status Run(const Case& c, const Target& target, Bench* bench) {
  if (Status status = bench->GiveScratch(); !status.ok()) return status;
  const Call& call = bench->call;
  if (c.verb == Verb::kSplit) return RunParts(c, target, bench);
  const Status status = Do(target, WritingAction(c.verb), call, bench);
  if (!status.ok() || c.verb == Verb::kDrop) return status;
  return Do(target, Action::kApply, call, bench);
}

// ---------------------------------------------------------------- calls that must be refused

std::string FindRefused(const Status& status, const char* what, Bench* bench, const Mask& before) {
  if (status.ok()) return std::string("not refused: ") + what;
  if (status.message().empty()) return std::string("refused without a message: ") + what;
  if (!SameStruct(before, bench->whole.mask)) return std::string("refused, but the mask's fields changed: ") + what;
  std::string written = bench->Damage();
  if (written.empty()) written = bench->Written();
  return written.empty() ? "" : std::string("refused, but ") + written + ": " + what;
}

std::string RunSpoilt(const Case& c, const Target& target, const Spoil& spoil, Bench* bench) {
  if (Status status = bench->GiveScratch(); !status.ok()) return "ScratchBytes: " + status.message();
  if (spoil.stage == Stage::kApply) {
    if (Status status = Do(target, WritingAction(c.verb), bench->call, bench); !status.ok())
      return Failed("refused before it was spoilt: ", status, *bench);
  }
  bench->Remember();
  Call call = bench->call;
  spoil.spoil(&call);
  const Mask before = bench->whole.mask;
  const Action action = spoil.stage == Stage::kApply ? Action::kApply : WritingAction(c.verb);
  const Status status = Do(target, action, call, bench, Expected::kRefused);
  return FindRefused(status, spoil.name, bench, before);
}

// A spec that the shape does not allow: the memory holds a word of each, and none may be written.
std::string RunUnfit(const Case& c, const Target& target, Bench* bench) {
  const Mask before = bench->whole.mask;
  const Status status = Do(target, WritingAction(c.verb), bench->call, bench, Expected::kRefused);
  return FindRefused(status, "the spec does not fit the shape", bench, before);
}

// ---------------------------------------------------------------- trust

Trust TrustOf(const Mask& mask) {
  const uint64_t threshold = *mask.threshold;
  int64_t kept = 0;
  for (int64_t i = 0; i < mask.num_kept; ++i) kept += mask.kept[i];
  if (mask.total > 0 && threshold != kBadThreshold && kept > 0 && kept < mask.total) return Trust::kTrusted;
  const bool no_choice = threshold == 0 || threshold >= uint64_t{1} << 32 || mask.total == 0;
  return no_choice ? Trust::kExact : Trust::kMistrusted;
}

void SetPool(int threads) {
  static int current = -1;  // a change makes the pool anew
  if (current == threads) return;
  if (SetThreads(threads).ok()) current = threads;
}

}  // namespace

Outcome RunCase(const Case& c, const Target& target) {
  Outcome outcome;
  Bench ours(c, target);
  SetPool(c.threads);
  if (!ours.whole.described.ok() || !c.spoilt.empty()) {
    outcome.trust = Trust::kRefused;
    const bool unfit = !ours.whole.described.ok();
    outcome.mismatch = unfit ? RunUnfit(c, target, &ours) : RunSpoilt(c, target, *FindSpoil(c.spoilt), &ours);
    return outcome;
  }
  Case plain = c;
  plain.runner = Runner::kPool;
  plain.own_scratch = plain.one_count = false;
  if (c.verb == Verb::kSplit || c.verb == Verb::kDrop) plain.verb = Verb::kSample;
  Bench theirs(plain, Reference());
  const Status reference = Run(plain, Reference(), &theirs);
  const Status status = Run(c, target, &ours);
  outcome.elements = c.Elements();
  if (!reference.ok()) {
    outcome.mismatch = "the reference refuses: " + reference.message();
  } else if (!status.ok()) {
    outcome.mismatch = Failed("refused: ", status, ours);
  } else {
    outcome.mismatch = Difference(c, &ours, &theirs);
    outcome.trust = TrustOf(theirs.whole.mask);
  }
  return outcome;
}

}  // namespace dropkit::check
