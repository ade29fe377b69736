// The run of `dropkit check`: cases from a seed until the time or the number is up, or one fails.
#ifndef DROPKIT_CLI_CHECK_CHECK_H_
#define DROPKIT_CLI_CHECK_CHECK_H_

#include <cstdint>
#include <optional>
#include <string>

#include "cli/check/tally.h"
#include "cli/check/target.h"

namespace dropkit::check {

struct Mismatch {
  std::string what;        // of the shrunk case
  std::string reproducer;  // the shrunk case
  std::string drawn;       // the case as it was drawn
};

// How much to check, and of what.
struct Extent {
  double seconds = 60;
  int64_t cases = INT64_MAX;
  bool large = false;  // large cases alone
};

struct Report {
  Tally tally;
  double seconds = 0;
  std::optional<Mismatch> mismatch;
};

// Case k is a function of (seed, k, large), so two runs with one seed do the same, as far as they go. Ends at a
// mismatch.
Report Check(const Target& target, uint64_t seed, const Extent& extent);

// One case as it is, neither shrunk nor drawn again.
Report CheckOne(const Target& target, const Case& c);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_CHECK_H_
