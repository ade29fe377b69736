// A trivial output is drawn again once, with another key; a case that stays trivial is not counted.
#include "cli/check/check.h"

#include <chrono>
#include <cstdio>

#include "cli/check/crash.h"
#include "cli/check/random.h"
#include "cli/check/random_case.h"
#include "cli/check/run_case.h"
#include "cli/check/shrink.h"

namespace dropkit::check {
namespace {

class Clock {
 public:
  double Seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// A device that an error left unusable fails every case from there on, so nothing is run on it any more: not to make
// the case smaller, and no case after the smaller one that did it.
Mismatch Explain(const Target& target, const Case& drawn, const std::string& what) {
  const auto lost = [&] { return target.device && target.device->lost(); };
  if (lost()) return {what, Print(drawn), Print(drawn)};
  // At once: a smaller case may hang or crash, and the run may be ended before it has the smallest.
  std::fprintf(stderr, "dropkit check: MISMATCH %s\n  as drawn, made smaller from here on: %s\n", what.c_str(),
               Print(drawn).c_str());
  const auto fails = [&](const Case& c) {
    if (lost()) return false;
    NameCase(c);
    return !RunCase(c, target).mismatch.empty();
  };
  const Case small = Shrink(drawn, fails);
  if (lost()) return {what + " (a smaller case left the device unusable)", Print(small), Print(drawn)};
  const std::string again = RunCase(small, target).mismatch;
  if (again.empty())
    return {what + " (not at every run: threads, or memory that nobody set)", Print(drawn), Print(drawn)};
  return {again, Print(small), Print(drawn)};
}

// False at a mismatch, which the report then holds.
bool RunOnce(const Target& target, const Case& c, Report* report, Outcome* outcome) {
  NameCase(c);
  *outcome = RunCase(c, target);
  if (outcome->mismatch.empty()) return true;
  report->mismatch = Explain(target, c, outcome->mismatch);
  return false;
}

// Runs a case and what it is drawn again as; false at a mismatch.
bool RunAndCount(const Target& target, Case c, Report* report) {
  Outcome outcome;
  if (!RunOnce(target, c, report, &outcome)) return false;
  if (outcome.trust == Trust::kMistrusted) {
    report->tally.AddDrawnAgain(outcome);
    c = DrawAgain(c);
    if (!RunOnce(target, c, report, &outcome)) return false;
  }
  report->tally.Add(c, outcome);
  return true;
}

}  // namespace

Report Check(const Target& target, uint64_t seed, const Extent& extent) {
  const Clock clock;
  const CrashReport crash_report;
  Report report;
  Random numbers(seed);
  while (report.tally.cases < extent.cases && clock.Seconds() < extent.seconds) {
    if (!RunAndCount(target, RandomCase(numbers.Word(), extent.large), &report)) break;
  }
  report.seconds = clock.Seconds();
  return report;
}

Report CheckOne(const Target& target, const Case& c) {
  const Clock clock;
  const CrashReport crash_report;
  Report report;
  NameCase(c);
  const Outcome outcome = RunCase(c, target);
  report.tally.Add(c, outcome);
  if (!outcome.mismatch.empty()) report.mismatch = Mismatch{outcome.mismatch, Print(c), Print(c)};
  report.seconds = clock.Seconds();
  return report;
}

}  // namespace dropkit::check
