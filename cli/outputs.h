// The files that a command line names for its results: refused before any work where they cannot all be had.
// How a file is written is in file.h.

#ifndef DROPKIT_CLI_OUTPUTS_H_
#define DROPKIT_CLI_OUTPUTS_H_

#include <optional>
#include <string>
#include <vector>

namespace dropkit::cli {

struct Output {
  const char* option;
  std::optional<std::string> path;  // as on the command line, where it was given
};

// Throws CLI::ValidationError for "-", which is no file, and for two options that name one file by whatever path.
void RefuseOutputs(const std::vector<Output>& outputs);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_OUTPUTS_H_
