// A program with subcommands: reads the command line, runs one subcommand's job, turns what goes wrong into one message
// on standard error and an exit code: 0 done, 1 the job failed, 2 the command line is wrong.
#ifndef DROPKIT_CLI_PROGRAM_H_
#define DROPKIT_CLI_PROGRAM_H_

#include <vector>

#include "cli/commands.h"

namespace dropkit::cli {

// One of the functions of commands.h.
using AddSubcommand = void (*)(CLI::App& app, Job& job);

// Returns the exit code; throws nothing.
int RunProgram(int argc, char** argv, const std::vector<AddSubcommand>& subcommands);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_PROGRAM_H_
