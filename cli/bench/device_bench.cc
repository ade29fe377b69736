// Pairs of neighbours, one call and one copy, between marks of the stream. Before each of the two the stream is kept
// busy until it is enqueued, so that what is timed is the device's work and not the host's: by a fill of many times the
// caches' size (evicted: neither finds anything of its tensors there), or by a wait of the host's in the stream, which
// touches no memory (as they are: what the neighbour left). The ratio is the median over pairs.
#include "cli/bench/device_bench.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <new>
#include <stdexcept>

#include "cli/bench/device_setup.h"
#include "cli/status.h"

namespace dropkit::bench {
namespace {

using Json = nlohmann::ordered_json;
using Caches = cli::Device::Caches;

constexpr int kFewestPairs = 21, kWarmUp = 3;
constexpr double kTooNoisy = 0.15;  // of the ratio: its interquartile range

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

struct Measured {
  std::vector<double> call, copy, ratio, host;
};

void Pair(cli::Device& device, Caches caches, const std::function<void()>& call, const std::function<void()>& copy,
          Measured* m) {
  device.Delay(caches);
  device.Mark(0);
  const double start = Now();
  call();
  m->host.push_back(Now() - start);
  device.Mark(1);
  device.Delay(caches);
  device.Mark(2);
  copy();
  device.Mark(3);
  cli::Check(device.Synchronise(), "CASE");
  m->call.push_back(device.SecondsBetween(0, 1));
  m->copy.push_back(device.SecondsBetween(2, 3));
  m->ratio.push_back(m->call.back() / m->copy.back());
}

Measured Measure(cli::Device& device, Caches caches, const std::function<void()>& call,
                 const std::function<void()>& copy, double seconds) {
  Measured warm_up, m;
  for (int i = 0; i < kWarmUp; ++i) Pair(device, caches, call, copy, &warm_up);
  const double start = Now();
  for (int i = 0; i < kFewestPairs || Now() - start < seconds; ++i) Pair(device, caches, call, copy, &m);
  return m;
}

Json RowOf(const char* prefix, const Measured& m) {
  const std::string name = prefix;
  const double ratio = Quantile(m.ratio, .5);
  return {{name + "us", 1e6 * Quantile(m.call, .5)},
          {name + "copy_us", 1e6 * Quantile(m.copy, .5)},
          {name + "ratio", ratio},
          {name + "spread", (Quantile(m.ratio, .75) - Quantile(m.ratio, .25)) / ratio},
          {name + "pairs", m.ratio.size()}};
}

Json TimeCase(const Case& c, cli::Device& device, const std::string& backend, double seconds) {
  DeviceSetup setup(c, device, backend);
  setup.Check();
  const auto call = [&] { setup.Run(); };
  const auto copy = [&] { setup.Copy(); };
  const Measured evicted = Measure(device, Caches::kEvicted, call, copy, seconds);
  const Measured cached = Measure(device, Caches::kAsTheyAre, call, copy, seconds / 2);
  const std::unique_ptr<cli::Replay> captured = setup.Capture();
  const Measured replayed = Measure(
      device, Caches::kEvicted, [&] { captured->Launch(); }, copy, seconds / 2);
  Json row = {{"line", c.line}, {"case", c.full}, {"bytes", setup.bytes()}};
  row.update(RowOf("", evicted));
  row.update(RowOf("cached_", cached));
  row.update(RowOf("replay_", replayed));
  row["host_us"] = 1e6 * Quantile(evicted.host, .5);
  row["kernels"] = captured->kernels();
  row["other_nodes"] = captured->others();
  if (c.call != Call::kSample)
    row["gigabytes_per_second"] = 2e-9 * static_cast<double>(setup.bytes()) / Quantile(evicted.call, .5);
  row["trivial"] = setup.is_trivial();
  row["trusted"] = row["spread"] <= kTooNoisy && !setup.is_trivial();
  return row;
}

void PrintRow(const Json& row) {
  const auto number = [&](const char* name) { return row[name].get<double>(); };
  const char* remark = row["trivial"].get<bool>()    ? " MISTRUSTED: all kept or all dropped"
                       : !row["trusted"].get<bool>() ? " TOO NOISY to trust"
                                                     : "";
  const double rate = row.contains("gigabytes_per_second") ? number("gigabytes_per_second") : 0;
  std::printf("| `%s`%s | %.1f | %.1f | %.3f | %.1f%% | %.0f | %.1f | %.3f | %.1f | %.3f | %.1f | %d |\n",
              row["line"].get<std::string>().c_str(), remark, number("us"), number("copy_us"), number("ratio"),
              100 * number("spread"), rate, number("cached_us"), number("cached_ratio"), number("replay_us"),
              number("replay_ratio"), number("host_us"), row["kernels"].get<int>());
  std::fflush(stdout);
}

void PrintHead(const Json& report) {
  std::printf("%s, commit %s\n", report["build"].get<std::string>().c_str(),
              report["commit"].get<std::string>().c_str());
  for (const auto& [name, value] : report["device"].items())
    std::printf("%s: %s\n", name.c_str(), value.get<std::string>().c_str());
  std::printf(
      "\nEach case was checked against the backend cpu, all of it to the bit, as it is and captured. ratio = the case "
      "/\n"
      "a device-to-device copy of the same tensor: the median over pairs, spread its interquartile range. us, copy "
      "us,\n"
      "ratio, GB/s (read and written) and replay with evicted caches, cached with what the neighbour left there; "
      "replay\n"
      "is of a captured graph; host us is what the host takes for a call; kernels are a call's launches.\n\n"
      "| case | us | copy us | ratio | spread | GB/s | cached us | cached ratio | replay us | replay ratio | host us | "
      "kernels |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
}

void AddCase(const Case& c, cli::Device& device, const std::string& backend, double seconds, Json* report) {
  try {
    (*report)["results"].push_back(TimeCase(c, device, backend, seconds));
    PrintRow((*report)["results"].back());
  } catch (const std::bad_alloc&) {
    std::printf("| `%s` | left out: out of memory |\n", c.line.c_str());
    (*report)["left_out"].push_back({{"line", c.line}, {"case", c.full}, {"reason", "out of memory"}});
  } catch (const CLI::Error&) {
    throw;  // the command line's
  } catch (const std::runtime_error& error) {
    std::printf("| `%s` | WRONG: %s |\n", c.line.c_str(), error.what());
    std::fflush(stdout);
    (*report)["wrong"].push_back({{"line", c.line}, {"case", c.full}, {"reason", error.what()}});
  }
}

}  // namespace

Json BenchOnDevice(cli::Device& device, const std::string& backend, const std::vector<Case>& cases, double seconds,
                   const std::string& commit, const std::function<void(const Json&)>& save) {
  Json report = {{"build", BuildInfo()}, {"commit", commit}, {"backend", backend}};
  for (const auto& [name, value] : device.facts()) report["device"][name] = value;
  report["results"] = report["left_out"] = report["wrong"] = Json::array();
  PrintHead(report);
  if (save) save(report);
  for (const Case& c : cases) {
    AddCase(c, device, backend, seconds, &report);
    if (save) save(report);
    if (device.lost()) break;
  }
  return report;
}

}  // namespace dropkit::bench
