// `dropkit mask`: draws one mask on the host and tells what it is: the rates before, the counts and gains after, and on
// demand the elements themselves as an array or a picture.
// Assumes that the library validates the spec, the sizes and the backend; here only text becomes numbers.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iomanip>
#include <iostream>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/memory.h"
#include "cli/npy.h"
#include "cli/number.h"
#include "cli/outputs.h"
#include "cli/picture.h"
#include "cli/shape.h"
#include "cli/status.h"
#include "dropkit/dropkit.h"
#include "src/backend.h"
#include "src/nearest.h"

namespace dropkit::cli {
namespace {

// As on the command line.
struct MaskOptions {
  std::string line, shape, seed, offset = "0", first_sample = "0", layout = "first";
  std::optional<std::string> threads, backend, npy, png;
};

struct MaskJob {
  Spec spec;
  float p = 0;
  uint64_t key[2] = {0, 0};
  std::vector<int64_t> shape;
  View view;
  Exec exec;
};

Layout ReadLayout(const std::string& text) {
  if (text == "first") return Layout::kChannelsFirst;
  if (text == "last") return Layout::kChannelsLast;
  throw CLI::ValidationError("--layout",
                             "'" + text + "'" + DidYouMean(text, {"first", "last"}) + " allowed: first, last");
}

MaskJob ReadOptions(const MaskOptions& options) {
  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  constexpr int64_t kLastSample = std::numeric_limits<int64_t>::max();
  MaskJob job;
  Check(ParseCase(options.line, &job.spec, &job.p), "CASE");
  job.shape = ReadShape(options.shape);
  job.key[0] = ReadNumber("--seed", options.seed, kAny);
  job.key[1] = ReadNumber("--offset", options.offset, kAny);
  const int64_t largest_first = kLastSample - job.shape[0];
  const uint64_t first = ReadNumber("--first-sample", options.first_sample, static_cast<uint64_t>(largest_first));
  if (options.threads) {
    constexpr auto kMost = static_cast<uint64_t>(std::numeric_limits<int>::max());
    Check(SetThreads(static_cast<int>(ReadNumber("--threads", *options.threads, kMost))), "--threads");
  }
  job.view = ViewOf(job.shape, DType::kF32, ReadLayout(options.layout));
  job.view.first_sample = static_cast<int64_t>(first);
  return job;
}

std::runtime_error TooLarge(uint64_t bytes) {
  const std::optional<uint64_t> free = FreeMemory();
  return std::runtime_error(
      "--shape: out of memory: the mask takes at least " + std::to_string(bytes) + " bytes" +
      (free && bytes > *free ? "; " + std::to_string(*free) + " are free" : ", more than this process is granted"));
}

// The bytes that Draw and Elements will ask for, scratch aside; no overflow, since Describe refuses what has 2^60
// elements.
uint64_t MemoryOf(const MaskJob& job, bool with_elements) {
  Mask described;
  Check(Describe(job.spec, job.view, &described), "CASE and --shape");
  const auto words = static_cast<uint64_t>(described.num_words()) + static_cast<uint64_t>(described.num_kept);
  return 8 * words + (with_elements ? static_cast<uint64_t>(described.total) : 0);
}

void Draw(const MaskJob& job, MaskStorage* storage) {
  Check(storage->Reserve(job.spec, job.view), "CASE and --shape");
  Check(Sample(job.spec, Probability(job.p), job.key, job.view, job.exec, &storage->mask), "CASE and --shape");
}

std::vector<uint8_t> Elements(const Mask& mask) {
  std::vector<uint8_t> keep(static_cast<size_t>(mask.total));
  Check(Unpack(mask, keep.data()), "CASE and --shape");
  return keep;
}

// ---------------------------------------------------------------- The report

std::string Sizes(const int64_t* sizes, int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += (i == 0 ? "" : "x") + std::to_string(sizes[i]);
  return count == 0 ? "1" : text;
}

void Line(const char* name, const std::string& text) {
  std::cout << std::left << std::setw(16) << name << text << "\n";
}

void PrintRates(const MaskJob& job) {
  RateInfo rates;
  Check(Rates(job.spec, job.p, job.view, &rates), "CASE and --shape");
  constexpr const char* kOf = " of 4294967296";
  Line("p", Print(job.p) + ", T = " + std::to_string(rates.threshold) + kOf);
  const std::string lane = "Q = " + std::to_string(rates.lane_threshold) + kOf;
  const bool seeds = job.spec.method == Method::kDropBlock;
  Line("unit fires with", (seeds ? "gamma = " + Print(rates.gamma) + ", " : "") + lane + ", " +
                              std::to_string(rates.lanes) + " units a sample");
  if (seeds || job.spec.method == Method::kCutout)
    Line("block", Sizes(rates.block, job.view.spatial_dims) + " at " + Sizes(rates.positions, job.view.spatial_dims) +
                      " positions");
  Line("expected drop", Print(rates.expected_drop));
}

void PrintKept(const Mask& mask) {
  int64_t kept = 0;
  for (int64_t i = 0; i < mask.num_kept; ++i) kept += mask.kept[i];
  const std::string counts = std::to_string(kept) + " of " + std::to_string(mask.total);
  const double fraction = static_cast<double>(kept) / static_cast<double>(mask.total);
  Line("kept", mask.total == 0 ? counts : Print(fraction) + ", " + counts);
}

// One gain a tensor, sample or plane, as the mask's law counts; many are told by their range.
void PrintGains(const Mask& mask) {
  if (mask.total == 0) return;
  const bool counted = mask.spec.normalize == Normalize::kKept;
  const int64_t samples = counted && mask.spec.over != Over::kTensor ? mask.samples : 1;
  const int64_t channels = counted && mask.spec.over == Over::kPlane ? mask.channels : 1;
  Gain gain;
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (int64_t i = 0; i < samples * channels; ++i) {
    Check(GainOf(mask, Pass::kForward, i / channels, i % channels, DType::kF32, &gain), "CASE");
    least = std::min(least, gain.a);
    most = std::max(most, gain.a);
  }
  const std::string number = Print(static_cast<float>(least));
  const std::string range = number + " to " + Print(static_cast<float>(most));
  const std::string unit = mask.spec.over == Over::kPlane ? " planes" : " samples";
  Line("gain a", samples * channels == 1 ? number : range + " over " + std::to_string(samples * channels) + unit);
  const bool noise = mask.spec.fill == Fill::kNoise;
  Line("gives", "kept: x * a, dropped: " + (noise ? "a standard normal value" : Print(gain.d)));
}

void PrintSetting(const MaskJob& job, const std::string& layout) {
  Line("case", PrintSpec(job.spec, SpecForm::kShort) + "@" + Print(job.p));
  Line("spec", PrintSpec(job.spec, SpecForm::kFull));
  Line("shape",
       ShapeText(job.shape) + ", first sample " + std::to_string(job.view.first_sample) + ", channels " + layout);
  Line("key", "seed " + std::to_string(job.key[0]) + ", offset " + std::to_string(job.key[1]));
  Line("backend", job.exec.backend);
}

// Returns the picture's size as text where there is one.
std::string WriteFiles(const Mask& mask, const MaskOptions& options, const std::vector<int64_t>& shape) {
  if (!options.npy && !options.png) return "";
  const std::vector<uint8_t> keep = Elements(mask);
  if (options.npy) WriteNpy(*options.npy, keep, shape);
  return options.png ? WritePng(*options.png, keep, shape) : "";
}

int RunMask(const MaskOptions& options) {
  RefuseOutputs({{"--npy", options.npy}, {"--png", options.png}});
  MaskJob job = ReadOptions(options);
  const char* chooser = options.backend ? "--backend" : "DROPKIT_BACKEND";
  if (options.backend) job.exec.backend = options.backend->c_str();
  const Backend* backend;
  Check(FindBackend(job.exec, &backend), chooser);
  if (!backend->host_memory)
    throw CLI::ValidationError(chooser, std::string("'") + backend->name +
                                            "' works on device memory; allowed: a backend on host memory, such as cpu");
  job.exec.backend = backend->name;
  if (options.png && std::count(job.shape.begin(), job.shape.end(), 0) > 0)
    throw CLI::ValidationError("--png",
                               "--shape " + options.shape + " has no elements to draw; sizes above 0 are allowed");
  size_t scratch = 0;
  uint64_t bytes = MemoryOf(job, options.npy || options.png);
  Check(ScratchBytes(job.spec, job.view, job.exec, &scratch), chooser);
  bytes += scratch;
  if (bytes > FreeMemory().value_or(bytes)) throw TooLarge(bytes);
  LimitMemory();
  try {
    MaskStorage storage;
    Draw(job, &storage);
    const std::string pixels = WriteFiles(storage.mask, options, job.shape);
    PrintSetting(job, options.layout);
    PrintRates(job);
    PrintKept(storage.mask);
    PrintGains(storage.mask);
    if (options.npy) Line("npy", *options.npy);
    if (options.png) Line("png", *options.png + ", " + pixels);
  } catch (const std::bad_alloc&) {
    throw TooLarge(bytes);
  }
  return 0;
}

}  // namespace

void AddMask(CLI::App& app, Job& job) {
  CLI::App* mask = app.add_subcommand("mask", "draw one mask; print its rates, kept fraction and gains");
  auto options = std::make_shared<MaskOptions>();
  mask->add_option("CASE", options->line, "what to drop, SPEC[@P], such as dropblock:block=7@0.1")
      ->required()
      ->type_name("");
  mask->add_option("--shape", options->shape, "sizes of the tensor: N,C  N,C,W  N,C,H,W or N,C,D,H,W")
      ->required()
      ->type_name("SIZES");
  mask->add_option("--seed", options->seed, "first half of the key, 0 to 2^64-1")->required()->type_name("NUMBER");
  mask->add_option("--offset", options->offset, "second half of the key, 0 to 2^64-1")
      ->capture_default_str()
      ->type_name("NUMBER");
  mask->add_option("--first-sample", options->first_sample, "index of sample 0 in the global batch")
      ->capture_default_str()
      ->type_name("NUMBER");
  mask->add_option("--layout", options->layout, "channels first or last in memory; the mask is the same")
      ->capture_default_str()
      ->type_name("first|last");
  mask->add_option("--threads", options->threads, "threads to draw with, 0 for one per core; the mask is the same")
      ->type_name("NUMBER");
  mask->add_option("--backend", options->backend,
                   "who draws; the mask is the same. Default: $DROPKIT_BACKEND, or the best")
      ->type_name("NAME");
  mask->add_option("--npy", options->npy, "write the mask to this file as a boolean array, True = kept")
      ->type_name("FILE");
  mask->add_option("--png", options->png, "write a picture of the maps to this file, kept white, dropped dark")
      ->type_name("FILE");
  mask->callback([options, &job] { job = [options] { return RunMask(*options); }; });
}

}  // namespace dropkit::cli
