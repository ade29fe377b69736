// The subcommands of the `dropkit` program. Each Add function registers one subcommand on the app and, when that
// subcommand is given, sets `job` to the work to do after parsing; the job returns the exit code.
// Assumes main.cc runs the job and turns what it throws into a message and exit code 1.
// AddTrain lives in train.cc, compiled only where DROPKIT_HAVE_TORCH is defined.

#ifndef DROPKIT_CLI_COMMANDS_H_
#define DROPKIT_CLI_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <functional>

namespace dropkit::cli {

void AddTrain(CLI::App& app, std::function<int()>& job);
void AddMask(CLI::App& app, std::function<int()>& job);
void AddMethods(CLI::App& app, std::function<int()>& job);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_COMMANDS_H_
