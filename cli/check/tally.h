// Counts of a run of cases, as text and as JSON.
#ifndef DROPKIT_CLI_CHECK_TALLY_H_
#define DROPKIT_CLI_CHECK_TALLY_H_

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/check/case.h"
#include "cli/check/run_case.h"

namespace dropkit::check {

struct Tally {
  int64_t cases = 0, trusted = 0, exact = 0, refused = 0;  // cases is the sum of the three
  int64_t drawn_again = 0;                                 // all kept or all dropped at first
  int64_t stayed = 0;                                      // all kept or all dropped at last: not among the cases
  int64_t elements = 0;
  std::map<std::string, int64_t> methods, dtypes, passes, verbs;  // of the cases that were not to be refused

  // The last run of a case.
  void Add(const Case& c, const Outcome& outcome);
  // One that another follows.
  void AddDrawnAgain(const Outcome& outcome);
  std::string Text() const;
  nlohmann::ordered_json Json() const;
};

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_TALLY_H_
