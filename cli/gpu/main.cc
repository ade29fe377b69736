// The program `dropkit-gpu`: what there is to do on a machine with a GPU and nothing else of this build. It needs no
// library but the system's C library, and the driver.
#include <cstdio>

#include "cli/device/device.h"
#include "cli/program.h"

namespace dropkit::cli {
namespace {

int PrintCard() {
  Device* device = CudaDevice();
  if (device == nullptr) {
    std::printf("no GPU: skipped (%s)\n", WhyNoCudaDevice().c_str());
    return 0;
  }
  for (const auto& [name, value] : device->facts()) std::printf("%-20s%s\n", name.c_str(), value.c_str());
  return 0;
}

void AddCard(CLI::App& app, Job& job) {
  CLI::App* command = app.add_subcommand("card", "what the first device says of itself");
  command->callback([&job] { job = PrintCard; });
}

}  // namespace
}  // namespace dropkit::cli

int main(int argc, char** argv) {
  using namespace dropkit::cli;
  return RunProgram(argc, argv, {AddCard, AddCheck, AddBench});
}
