// Makes a failing case smaller and plainer while it still fails.
#ifndef DROPKIT_CLI_CHECK_SHRINK_H_
#define DROPKIT_CLI_CHECK_SHRINK_H_

#include <functional>

#include "cli/check/case.h"

namespace dropkit::check {

// `fails` is asked at most `most` times.
Case Shrink(const Case& c, const std::function<bool(const Case&)>& fails, int most = 2000);

}  // namespace dropkit::check

#endif  // DROPKIT_CLI_CHECK_SHRINK_H_
