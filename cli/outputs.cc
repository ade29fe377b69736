// Paths are compared as the file system resolves them: links, "." and ".." as well as two names of one file.

#include "cli/outputs.h"

#include <CLI/CLI.hpp>
#include <filesystem>

namespace dropkit::cli {
namespace {

namespace fs = std::filesystem;

// What is there and no regular file, such as /dev/null, takes both.
bool AreOneFile(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::exists(a, error) && !fs::is_regular_file(a, error)) return false;
  if (fs::equivalent(a, b, error)) return true;
  const fs::path first = fs::weakly_canonical(fs::absolute(a, error), error);
  return first == fs::weakly_canonical(fs::absolute(b, error), error);
}

}  // namespace

void RefuseOutputs(const std::vector<Output>& outputs) {
  for (const Output& output : outputs) {
    if (!output.path) continue;
    if (*output.path == "-")
      throw CLI::ValidationError(output.option, "'-' is no file; allowed: a path, ./- for a file of that name");
    for (const Output& other : outputs) {
      if (&other == &output) break;
      if (other.path && AreOneFile(*other.path, *output.path))
        throw CLI::ValidationError(
            output.option, "'" + *output.path + "' is the file of " + other.option + " too; allowed: a file each");
    }
  }
}

}  // namespace dropkit::cli
