// When a case ends the program by a signal, prints the case first: the one fault that no return value tells of.
// Does nothing where another handler is installed already (sanitizers have theirs).
#ifndef DROPKIT_CLI_CHECK_CRASH_H_
#define DROPKIT_CLI_CHECK_CRASH_H_

#include <vector>

#include "cli/check/case.h"

namespace dropkit::check {

// What is printed from here on.
void NameCase(const Case& c);

// While one lives, crashes are reported. One within another does nothing.
class CrashReport {
 public:
  CrashReport();
  ~CrashReport();
  CrashReport(const CrashReport&) = delete;
  CrashReport& operator=(const CrashReport&) = delete;

 private:
  std::vector<int> signals_;  // whose handlers this one installed
};

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_CRASH_H_
