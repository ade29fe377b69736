// The program `dropkit`. What its subcommands do is in a file each, named like them; `train` is a program of its own,
// dropkit-train, which this one becomes: it links LibTorch, and loading that takes longer than all other subcommands
// do.
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cli/program.h"

namespace dropkit::cli {
namespace {

namespace fs = std::filesystem;

// Where dropkit-train may be: beside this program, as in a build, or where an installation has it.
std::vector<fs::path> TrainPlaces() {
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  return {here / "dropkit-train", (here / DROPKIT_TRAIN_FOLDER / "dropkit-train").lexically_normal()};
}

// Empty: nowhere.
std::string TrainProgram() {
  for (const fs::path& place : TrainPlaces()) {
    if (access(place.c_str(), X_OK) == 0) return place.string();
  }
  return "";
}

// Returns only if it fails.
int Become(const std::string& program, char** argv) {
  execv(program.c_str(), argv);
  std::cerr << "dropkit train: " << program << ": cannot be started: " << std::strerror(errno) << "\n";
  return 1;
}

// The word: for --help, for the list of known words, and, where there is no such program, to say so.
void AddTrainName(CLI::App& app, Job& job) {
  const bool here = !TrainProgram().empty();
  CLI::App* train =
      app.add_subcommand("train", here ? "train a small network on real images, once per method and seed, and compare"
                                       : "train a network with structured dropout (not installed here)");
  train->allow_extras();
  train->callback([&job] {
    job = []() -> int {
      const std::vector<fs::path> places = TrainPlaces();
      throw std::runtime_error("dropkit-train was not found at " + places[0].string() + " or " + places[1].string() +
                               "; a build without LibTorch has none, configure with -DDROPKIT_TORCH=ON to get it");
    };
  });
}

}  // namespace
}  // namespace dropkit::cli

int main(int argc, char** argv) {
  using namespace dropkit::cli;
  const bool trains = argc > 1 && std::string_view(argv[1]) == "train";
  if (const std::string program = trains ? TrainProgram() : ""; !program.empty()) return Become(program, argv);
  return RunProgram(argc, argv, {AddTrainName, AddMask, AddMethods, AddExplain, AddRates, AddCheck, AddBench});
}
