// The subcommands. Each Add function registers one subcommand on the app and, when that subcommand is given, sets `job`
// to the work to do after parsing; the job returns the exit code. Assumes program.cc runs the job and turns what it
// throws into a message and exit code 1, CLI::ParseError into 2. AddTrain lives in train/command.cc and belongs to the
// program dropkit-train.

#ifndef DROPKIT_CLI_COMMANDS_H_
#define DROPKIT_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace dropkit::cli {

using Job = std::function<int()>;

void AddCheck(CLI::App& app, Job& job);
void AddExplain(CLI::App& app, Job& job);
void AddBench(CLI::App& app, Job& job);
void AddMask(CLI::App& app, Job& job);
void AddMethods(CLI::App& app, Job& job);
void AddRates(CLI::App& app, Job& job);
void AddTrain(CLI::App& app, Job& job);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_COMMANDS_H_
