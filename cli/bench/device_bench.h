// `dropkit bench --backend cuda`: times cases on a device, each next to a copy of the same tensor there.
#ifndef DROPKIT_CLI_BENCH_DEVICE_BENCH_H_
#define DROPKIT_CLI_BENCH_DEVICE_BENCH_H_

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/bench/case.h"
#include "cli/device/device.h"

namespace dropkit::bench {

// Checks and times each case for so many seconds at least, a way of timing, and prints it as a row of a Markdown table
// under the device's facts. What there is no memory for is named and left out. A wrong result is not timed: the case is
// named in "wrong", and the next one's turn comes, unless an error left the device unusable. `save`, if any, gets the
// report before the first case and after each, so that a later one that hangs costs no figure.
nlohmann::ordered_json BenchOnDevice(cli::Device& device, const std::string& backend, const std::vector<Case>& cases,
                                     double seconds, const std::string& commit,
                                     const std::function<void(const nlohmann::ordered_json&)>& save = {});

}  // namespace dropkit::bench

#endif  // DROPKIT_CLI_BENCH_DEVICE_BENCH_H_
