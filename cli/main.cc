// The program `dropkit`. What its subcommands do is in a file each, named like them; `train` is a program of its own,
// dropkit-train, which this one becomes: it links LibTorch, and loading that takes longer than all other subcommands
// do.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>

#include "cli/program.h"

namespace dropkit::cli {
namespace {

namespace fs = std::filesystem;

// Where dropkit-train may be: beside this program, as in a build, or where an installation has it. Empty: nowhere.
std::string TrainProgram() {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& place : {here / "dropkit-train", here / "../libexec/dropkit/dropkit-train"}) {
    if (access(place.c_str(), X_OK) == 0) return place.string();
  }
  return "";
}

// Returns only if it fails.
int BecomeTrain(char** argv) {
  const std::string program = TrainProgram();
  if (program.empty()) {
    std::cerr << "dropkit train: this build has no LibTorch; configure with -DDROPKIT_TORCH=ON to get it\n";
    return 1;
  }
  execv(program.c_str(), argv);
  std::cerr << "dropkit train: " << program << ": cannot be started: " << std::strerror(errno) << "\n";
  return 1;
}

// For --help and for the list of known words only.
void AddTrainName(CLI::App& app, Job&) {
  app.add_subcommand("train", TrainProgram().empty()
                                  ? "train a network with structured dropout (not in this build)"
                                  : "train a small network on real images, once per method and seed, and compare");
}

}  // namespace
}  // namespace dropkit::cli

int main(int argc, char** argv) {
  using namespace dropkit::cli;
  if (argc > 1 && std::string_view(argv[1]) == "train") return BecomeTrain(argv);
  return RunProgram(argc, argv, {AddTrainName, AddMask, AddMethods, AddCheck});
}
