// Runs a case on the target and on the reference, and compares everything that a caller can see: bits, counts, T, y,
// the bytes between and beside the tensors, inputs, and for spoilt calls the error and that nothing was written.
#ifndef DROPKIT_CLI_CHECK_RUN_CASE_H_
#define DROPKIT_CLI_CHECK_RUN_CASE_H_

#include <string>

#include "cli/check/case.h"
#include "cli/check/target.h"

namespace dropkit::check {

enum class Trust : uint8_t {
  kTrusted,    // some kept, some dropped
  kExact,      // no choice: p of 0 or 1, bad in memory, or no elements
  kRefused,    // a call that must be refused
  kMistrusted  // all kept or all dropped where both were possible: right, but it shows little
};

struct Outcome {
  Trust trust = Trust::kTrusted;
  int64_t elements = 0;  // compared
  std::string mismatch;  // what differs, first place and both values; empty: nothing
};

Outcome RunCase(const Case& c, const Target& target);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_RUN_CASE_H_
