// What is checked: the verbs, and the name of the backend that runs them. The real ones are the library's own; a test
// passes verbs that are broken on purpose.
// A backend that has memory of its own comes with the device that has it; without one, memory is the host's.
#ifndef DROPKIT_CLI_CHECK_TARGET_H_
#define DROPKIT_CLI_CHECK_TARGET_H_

#include <string>
#include <vector>

#include "cli/device/device.h"
#include "dropkit/dropkit.h"

namespace dropkit::check {

struct Target {
  std::string backend;
  cli::Device* device = nullptr;
  decltype(&dropkit::Sample) sample = dropkit::Sample;
  decltype(&dropkit::Spread) spread = dropkit::Spread;
  decltype(&dropkit::Pack) pack = dropkit::Pack;
  decltype(&dropkit::Apply) apply = dropkit::Apply;
  decltype(&dropkit::Drop) drop = dropkit::Drop;
};

// The library's verbs on a backend that runs here; false for one that does not, or whose device nobody here knows.
bool MakeTarget(const BackendInfo& info, Target* target);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_TARGET_H_
