// What both programs, `dropkit` and `dropkit-train`, do alike: see program.h.
#include "cli/program.h"

#include <CLI/CLI.hpp>
#include <csignal>
#include <exception>
#include <iostream>
#include <new>
#include <string>

#include "dropkit/dropkit.h"
#include "src/nearest.h"

namespace dropkit::cli {
namespace {

constexpr int kJobFailed = 1, kWrongCommandLine = 2;
constexpr const char* kNoOutput = "cannot write to standard output";

// "dropkit", or "dropkit SUBCOMMAND" once one was given.
std::string CommandName(const CLI::App& app) {
  std::string name = app.get_name();
  for (const CLI::App* subcommand : app.get_subcommands()) name += " " + subcommand->get_name();
  return name;
}

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string UnknownSubcommand(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* subcommand : app.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(subcommand->get_name());
  }
  return "unknown subcommand '" + word + "'" + DidYouMean(word, names) + " known: " + Join(names);
}

// What is wrong with the words that no option or argument took, or nothing if there are none. An unknown option goes
// first: it explains why its value is left over or why a required option seems to be missing.
std::string LeftOver(const CLI::App& app) {
  const std::vector<std::string> words = app.remaining(true);
  if (words.empty()) return "";
  const std::vector<const CLI::App*> given = app.get_subcommands([](const CLI::App* s) { return s->parsed(); });
  const CLI::App& command = given.empty() ? app : *given.front();
  for (const std::string& word : words) {
    if (word.size() < 2 || word[0] != '-') continue;
    const std::string name = word.substr(0, word.find('='));
    return "unknown option '" + name + "'" + DidYouMean(name, OptionNames(command)) + " --help lists them";
  }
  return given.empty() ? UnknownSubcommand(app, words.front()) : "unexpected argument '" + words.front() + "'";
}

int Complain(const CLI::App& app, const std::string& message, int code) {
  const std::string name = CommandName(app);
  std::cerr << name << ": " << message << "\n";
  if (code == kWrongCommandLine) std::cerr << "Run '" << name << " --help' for usage.\n";
  return code;
}

int RunJob(const CLI::App& app, const Job& job) {
  try {
    const int code = job();
    if (!std::cout.flush()) return Complain(app, kNoOutput, kJobFailed);
    return code;
  } catch (const CLI::ParseError& error) {
    return Complain(app, error.what(), kWrongCommandLine);
  } catch (const std::bad_alloc&) {
    return Complain(app, "out of memory", kJobFailed);
  } catch (const std::exception& error) {
    return Complain(app, error.what(), kJobFailed);
  }
}

int Parse(int argc, char** argv, const std::vector<AddSubcommand>& subcommands) {
  CLI::App app("DropBlock and its family of structured dropout.", "dropkit");
  app.set_version_flag("--version", BuildInfo(), "print what this build is, and exit");
  app.set_help_flag("-h,--help", "print this help, and exit");
  app.require_subcommand(0, 1);
  app.footer("'dropkit SUBCOMMAND --help' tells more. Exit codes: 0 done, 1 the job failed, 2 wrong command line.");
  Job job;
  for (const AddSubcommand add : subcommands) add(app, job);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help_or_version) {
    const int code = app.exit(help_or_version);
    return std::cout.flush() ? code : Complain(app, kNoOutput, kJobFailed);
  } catch (const CLI::ParseError& error) {
    const std::string left_over = LeftOver(app);
    return Complain(app, left_over.empty() ? error.what() : left_over, kWrongCommandLine);
  }
  if (job) return RunJob(app, job);
  std::cerr << app.help();
  return kWrongCommandLine;
}

}  // namespace

int RunProgram(int argc, char** argv, const std::vector<AddSubcommand>& subcommands) {
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error like a full disk, and not the end
  try {
    return Parse(argc, argv, subcommands);
  } catch (const std::exception& error) {
    std::cerr << "dropkit: " << error.what() << "\n";
    return kJobFailed;
  }
}

}  // namespace dropkit::cli
