// A library Status as what the program throws. A wrong argument is exit code 2, whoever finds it; anything else is a
// failed job.

#ifndef DROPKIT_CLI_STATUS_H_
#define DROPKIT_CLI_STATUS_H_

#include <CLI/CLI.hpp>
#include <stdexcept>
#include <string>

#include "dropkit/dropkit.h"
#include "src/backend.h"

namespace dropkit::cli {

inline void Check(const Status& status, const char* argument) {
  if (status.ok()) return;
  if (status.code() == Status::Code::kInvalid) throw CLI::ValidationError(argument, status.message());
  throw std::runtime_error(std::string(argument) + ": " + status.message());
}

// For subcommands without --backend: that what DROPKIT_BACKEND names can run.
inline void CheckChosenBackend() {
  const Backend* backend;
  Check(FindBackend(Exec{}, &backend), "DROPKIT_BACKEND");
}

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_STATUS_H_
