// `dropkit bench`: times cases in pairs with a copy of the same tensor, after checking what they give.
// These machines are noisy, so a ratio is the median over pairs of neighbouring calls, and a case whose ratios scatter
// is said not to be trusted.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>

#include "cli/bench/case.h"
#include "cli/bench/device_bench.h"
#include "cli/commands.h"
#include "cli/commit.h"
#include "cli/device/device.h"
#include "cli/file.h"
#include "cli/memory.h"
#include "cli/number.h"
#include "cli/status.h"
#include "src/cpu/kernels.h"
#include "src/exec.h"

namespace dropkit::cli {
namespace {

using Json = nlohmann::ordered_json;
using bench::Case;
using bench::Setup;

constexpr int kFewestPairs = 15;
constexpr double kTooNoisy = 0.15;  // of the ratio: its interquartile range

struct Options {
  std::string backend = "cpu", cases = "bench/cases.txt", threads, seconds = "1";
  std::vector<std::string> lines;
  std::optional<std::string> json;
};

double Seconds(const auto& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

struct Measured {
  std::vector<double> call, copy, streaming, libc, ratio, ratio_to_streaming;
};

// body() at least kFewestPairs times and for so long; the first time warms up and does not count.
void Repeat(double seconds, const auto& body) {
  body(false);
  double spent = 0;
  for (int turn = 0; turn < kFewestPairs || spent < seconds; ++turn) spent += Seconds([&] { body(true); });
}

// One call of each in turn, so that what disturbs the machine disturbs both. The copies that go around the cache, or
// may, have turns of their own: they would leave a small tensor outside of it for the next call.
Measured Measure(Setup& setup, double seconds) {
  Measured m;
  Repeat(seconds, [&](bool counts) {
    const double call = Seconds([&] { setup.Run(); });
    const double copy = Seconds([&] { setup.Copy(Setup::Yardstick::kCopy); });
    if (!counts) return;
    m.call.push_back(call);
    m.copy.push_back(copy);
    m.ratio.push_back(call / copy);
  });
  Repeat(seconds / 4, [&](bool counts) {
    const double call = Seconds([&] { setup.Run(); });
    const double streaming = Seconds([&] { setup.Copy(Setup::Yardstick::kStreaming); });
    const double libc = Seconds([&] { setup.Copy(Setup::Yardstick::kLibc); });
    if (!counts) return;
    m.streaming.push_back(streaming);
    m.libc.push_back(libc);
    m.ratio_to_streaming.push_back(call / streaming);
  });
  return m;
}

Json Row(const Case& c, const Setup& setup, const Measured& m) {
  const double median = Quantile(m.call, .5), ratio = Quantile(m.ratio, .5);
  const double spread = (Quantile(m.ratio, .75) - Quantile(m.ratio, .25)) / ratio;
  Json row = {{"line", c.line}, {"case", c.full}, {"median_us", 1e6 * median}, {"spread", spread}};
  if (c.call != bench::Call::kSample) {
    row["gigabytes_per_second"] = 2e-9 * static_cast<double>(setup.bytes()) / median;
  }
  row.update({{"ratio", ratio},
              {"ratio_to_streaming", Quantile(m.ratio_to_streaming, .5)},
              {"copy_us", 1e6 * Quantile(m.copy, .5)},
              {"streaming_us", 1e6 * Quantile(m.streaming, .5)},
              {"libc_us", 1e6 * Quantile(m.libc, .5)},
              {"pairs", m.call.size()},
              {"trivial", setup.is_trivial()},
              {"trusted", spread <= kTooNoisy && !setup.is_trivial()}});
  return row;
}

void PrintHead(const Json& setting) {
  std::printf("%s, commit %s, %s, %d thread(s), kernels %s\n", setting["build"].get<std::string>().c_str(),
              setting["commit"].get<std::string>().c_str(), setting["cpu"].get<std::string>().c_str(),
              setting["threads"].get<int>(), setting["isa"].get<std::string>().c_str());
  std::printf(
      "ratio: to a copy of the tensor by the same threads, median over pairs; spread: its interquartile range;\n"
      "GB/s counts one read and one write of the tensor; streaming: the ratio to a copy that stores around the "
      "cache\n\n"
      "%9s %7s %7s %7s %10s %9s %9s  case\n",
      "median us", "spread", "GB/s", "ratio", "streaming", "copy us", "libc us");
}

void PrintRow(const Json& row) {
  const char* remark = row["trivial"].get<bool>()    ? "  MISTRUSTED: all kept or all dropped"
                       : !row["trusted"].get<bool>() ? "  TOO NOISY to trust"
                                                     : "";
  char rate[32] = "";
  if (row.contains("gigabytes_per_second")) {
    std::snprintf(rate, sizeof rate, "%.1f", row["gigabytes_per_second"].get<double>());
  }
  std::printf("%9.1f %6.1f%% %7s %7.3f %10.3f %9.1f %9.1f  %s%s\n", row["median_us"].get<double>(),
              100 * row["spread"].get<double>(), rate, row["ratio"].get<double>(),
              row["ratio_to_streaming"].get<double>(), row["copy_us"].get<double>(), row["libc_us"].get<double>(),
              row["case"].get<std::string>().c_str(), remark);
  std::fflush(stdout);
}

// What there is no memory for is named and left out: the largest cases are not for every machine.
void Time(const Case& c, const Exec& exec, double seconds, Json* report) {
  try {
    Setup setup(c, exec);
    setup.Check();
    (*report)["results"].push_back(Row(c, setup, Measure(setup, seconds)));
    PrintRow((*report)["results"].back());
  } catch (const std::bad_alloc&) {
    const std::optional<uint64_t> free = FreeMemory();
    const std::string reason = "out of memory" + (free ? "; " + std::to_string(*free) + " bytes are free" : "");
    std::printf("%s: left out: %s\n", c.full.c_str(), reason.c_str());
    (*report)["left_out"].push_back({{"line", c.line}, {"case", c.full}, {"reason", reason}});
  }
}

std::string CpuName() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown processor";
}

void Save(const Options& options, const Json& report) {
  if (options.json) ReplaceFile(*options.json, report.dump(1) + "\n");
}

// Before the first case and after each: what ends the run later costs no figure.
void SaveSoFar(const Options& options, const Json& report) {
  if (options.json && IsReplaced(*options.json)) Save(options, report);
}

// Without a device there is nothing to time, which is no failure: the same command serves every machine.
int RunOnCuda(const std::vector<Case>& cases, double seconds, const Options& options) {
  Device* device = CudaDevice();
  if (device == nullptr) {
    std::printf("no GPU: skipped (%s)\n", WhyNoCudaDevice().c_str());
    return 0;
  }
  const auto save = [&](const Json& so_far) { SaveSoFar(options, so_far); };
  const Json report = bench::BenchOnDevice(*device, options.backend, cases, seconds, Commit(), save);
  Save(options, report);
  if (report["wrong"].empty()) return 0;
  throw std::runtime_error(std::to_string(report["wrong"].size()) + " of " + std::to_string(cases.size()) +
                           " cases gave a wrong result; the table names them");
}

int RunBench(const Options& options) {
  constexpr uint64_t kMostThreads = 1024, kMostSeconds = 3600;
  if (!options.threads.empty()) {
    Check(SetThreads(static_cast<int>(ReadNumber("--threads", options.threads, kMostThreads))), "--threads");
  }
  const auto seconds = static_cast<double>(ReadNumber("--seconds", options.seconds, kMostSeconds));
  std::vector<Case> cases;
  for (const std::string& line : options.lines) cases.push_back(bench::ReadCase(line));
  if (cases.empty()) cases = bench::ReadCases(options.cases);
  Check(cpu::CheckKernels(), "DROPKIT_ISA");
  if (options.json) TryReplaceFile(*options.json);
  if (options.backend == "cuda") return RunOnCuda(cases, seconds, options);
  Exec exec;
  exec.backend = "cpu";
  Json report = {{"build", BuildInfo()},
                 {"commit", Commit()},
                 {"cpu", CpuName()},
                 {"threads", MaxThreads(exec)},
                 {"isa", cpu::ChosenKernels().isa},
                 {"results", Json::array()}};
  report["left_out"] = Json::array();
  PrintHead(report);
  LimitMemory();
  SaveSoFar(options, report);
  for (const Case& c : cases) {
    Time(c, exec, seconds, &report);
    SaveSoFar(options, report);
  }
  Save(options, report);
  return 0;
}

}  // namespace

void AddBench(CLI::App& app, Job& job) {
  CLI::App* bench = app.add_subcommand("bench", "time cases against a copy of the same tensor, after checking them");
  const auto options = std::make_shared<Options>();
  bench->add_option("--backend", options->backend, "cpu, or cuda on the first device")
      ->type_name("NAME")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  bench->add_option("--cases", options->cases, "file of cases, one a line")->type_name("FILE")->capture_default_str();
  bench
      ->add_option("--case", options->lines,
                   "'CASE SHAPE DTYPE LAYOUT PASS' instead of a file; repeat the option for more")
      ->type_name("LINE")
      ->allow_extra_args(false);
  bench->add_option("--threads", options->threads, "threads to run with; default: one per core")->type_name("NUMBER");
  bench->add_option("--seconds", options->seconds, "time for each case at least")
      ->type_name("NUMBER")
      ->capture_default_str();
  bench->add_option("--json", options->json, "write the results to this file")->type_name("FILE");
  bench->callback([options, &job] { job = [options] { return RunBench(*options); }; });
}

}  // namespace dropkit::cli
