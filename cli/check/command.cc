// `dropkit check`: options, the choice of backends, and what is printed.
#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <iomanip>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "cli/check/case.h"
#include "cli/check/check.h"
#include "cli/check/crash.h"
#include "cli/commands.h"
#include "cli/commit.h"
#include "cli/file.h"
#include "cli/number.h"
#include "src/backend.h"

namespace dropkit::cli {
namespace {

using check::Report;
using check::Target;

constexpr std::string_view kReference = "reference";

// As on the command line.
struct CheckOptions {
  std::optional<std::string> backend, minutes, seed, cases, line, json;
  bool large = false;
};

struct CheckJob {
  std::vector<Target> targets;
  uint64_t seed = 0;
  check::Extent extent;
  std::optional<check::Case> one;
};

std::string AllowedBackends() {
  std::string names;
  Target target;
  for (const BackendInfo& info : Backends()) {
    if (info.name == kReference || !check::MakeTarget(info, &target)) continue;
    names += (names.empty() ? "" : ", ") + info.name;
  }
  return names.empty() ? "none of this build" : names;
}

Target NamedTarget(const std::string& name) {
  if (name == kReference)
    throw CLI::ValidationError("--backend",
                               "the reference is what others are held against; allowed: " + AllowedBackends());
  const Backend* backend;
  Exec exec;
  exec.backend = name.c_str();
  if (Status status = FindBackend(exec, &backend); !status.ok())
    throw CLI::ValidationError("--backend", status.message());
  Target target;
  for (const BackendInfo& info : Backends()) {
    if (info.name == name && check::MakeTarget(info, &target)) return target;
  }
  throw CLI::ValidationError("--backend", "'" + name + "' has memory of its own; allowed: " + AllowedBackends());
}

// Every backend but the reference.
std::vector<Target> AllTargets() {
  std::vector<Target> targets;
  Target target;
  for (const BackendInfo& info : Backends()) {
    if (info.name != kReference && check::MakeTarget(info, &target)) targets.push_back(target);
  }
  if (targets.empty()) throw std::runtime_error("no backend to check but the reference");
  return targets;
}

void PrintSkipped() {
  Target target;
  for (const BackendInfo& info : Backends()) {
    if (check::MakeTarget(info, &target)) continue;
    std::cout << "skipped: " << info.name << " (" << (info.available ? "memory of its own" : info.why) << ")\n";
  }
}

double ReadMinutes(const std::string& text) {
  double minutes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), minutes);
  if (error != std::errc() || end != text.data() + text.size() || !(minutes > 0 && minutes <= 1e6))
    throw CLI::ValidationError("--minutes", "'" + text + "' is not a number above 0 and at most 1000000");
  return minutes;
}

uint64_t SeedOfNow() {
  return static_cast<uint64_t>(std::chrono::system_clock::now().time_since_epoch() / std::chrono::microseconds(1));
}

// A number of cases alone takes as long as it takes; neither is a minute.
check::Extent ReadExtent(const CheckOptions& options) {
  check::Extent extent;
  extent.large = options.large;
  if (options.cases) {
    extent.cases = static_cast<int64_t>(ReadNumber("--cases", *options.cases, INT64_MAX));
    if (extent.cases < 1)
      throw CLI::ValidationError("--cases", "'" + *options.cases + "' checks nothing; allowed: 1 or more");
    extent.seconds = 1e9;
  }
  if (options.minutes) extent.seconds = 60 * ReadMinutes(*options.minutes);
  return extent;
}

// A line says everything about its case.
void ExpectLineAlone(const CheckOptions& options) {
  const std::pair<const char*, bool> others[] = {{"--cases", options.cases.has_value()},
                                                 {"--minutes", options.minutes.has_value()},
                                                 {"--seed", options.seed.has_value()},
                                                 {"--large", options.large}};
  for (const auto& [name, given] : others) {
    if (!given) continue;
    throw CLI::ValidationError("--case", std::string("runs one case, so ") + name +
                                             " means nothing with it; allowed with it: --backend, --json");
  }
}

CheckJob ReadOptions(const CheckOptions& options) {
  CheckJob job;
  if (options.line) ExpectLineAlone(options);
  job.extent = ReadExtent(options);
  job.seed = options.seed ? ReadNumber("--seed", *options.seed, UINT64_MAX) : SeedOfNow();
  if (options.line) {
    check::Case c;
    if (Status status = check::ReadCase(*options.line, &c); !status.ok())
      throw CLI::ValidationError("--case", status.message());
    job.one = c;
  }
  job.targets = options.backend ? std::vector<Target>{NamedTarget(*options.backend)} : AllTargets();
  return job;
}

void PrintReport(const Target& target, const Report& report) {
  std::cout << "backend         " << target.backend << " against reference\n" << report.tally.Text();
  if (report.mismatch) {
    const check::Mismatch& mismatch = *report.mismatch;
    std::cout << "MISMATCH        " << mismatch.what << "\n"
              << "as drawn        " << mismatch.drawn << "\n"
              << "reproduce       dropkit check --backend " << target.backend << " --case '" << mismatch.reproducer
              << "'\n";
  }
  std::cout << "mismatches      " << (report.mismatch ? 1 : 0) << "\n"
            << "seconds         " << std::fixed << std::setprecision(1) << report.seconds << "\n"
            << std::flush;
}

nlohmann::ordered_json JsonOf(const Target& target, const Report& report) {
  nlohmann::ordered_json json = report.tally.Json();
  json["backend"] = target.backend;
  json["mismatches"] = report.mismatch ? 1 : 0;
  json["seconds"] = report.seconds;
  if (report.mismatch) {
    json["mismatch"] = report.mismatch->what;
    json["reproducer"] = report.mismatch->reproducer;
    json["drawn"] = report.mismatch->drawn;
  }
  return json;
}

int RunCheck(const CheckOptions& options) {
  CheckJob job = ReadOptions(options);
  if (options.json) TryReplaceFile(*options.json);
  if (!options.backend) PrintSkipped();
  const check::CrashReport crash_report;
  job.extent.seconds /= static_cast<double>(job.targets.size());
  if (!job.one) std::cout << "seed            " << job.seed << "\n" << std::flush;
  nlohmann::ordered_json reports = nlohmann::ordered_json::array();
  bool failed = false;
  for (const Target& target : job.targets) {
    const Report report = job.one ? CheckOne(target, *job.one) : Check(target, job.seed, job.extent);
    PrintReport(target, report);
    reports.push_back(JsonOf(target, report));
    failed = failed || report.mismatch;
  }
  std::cout << "commit          " << Commit() << "\n"
            << "build           " << BuildInfo() << "\n";
  if (options.json) {
    const nlohmann::ordered_json json = {
        {"seed", job.seed}, {"commit", Commit()}, {"build", BuildInfo()}, {"backends", reports}};
    ReplaceFile(*options.json, json.dump(2) + "\n");
  }
  return failed ? 1 : 0;
}

}  // namespace

void AddCheck(CLI::App& app, Job& job) {
  CLI::App* command = app.add_subcommand("check", "hold backends against the reference in random cases");
  auto options = std::make_shared<CheckOptions>();
  command->add_option("--backend", options->backend, "which one. Default: all but the reference, one after the other")
      ->type_name("NAME");
  command->add_option("--minutes", options->minutes, "how long, all backends together. Default: 1")
      ->type_name("NUMBER");
  command->add_option("--seed", options->seed, "which cases, 0 to 2^64-1. Default: from the clock, and printed")
      ->type_name("NUMBER");
  command->add_option("--cases", options->cases, "how many, 1 or more, each backend; takes as long as that takes")
      ->type_name("NUMBER");
  command->add_flag("--large", options->large, "only large cases on several threads");
  command
      ->add_option("--case", options->line,
                   "this case alone: the line that a mismatch prints; without the options above")
      ->type_name("LINE");
  command->add_option("--json", options->json, "write the summary to this file")->type_name("FILE");
  command->callback([options, &job] { job = [options] { return RunCheck(*options); }; });
}

}  // namespace dropkit::cli
