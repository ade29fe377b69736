// Reading, filling, checking and running a case.
#include "cli/bench/case.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <sstream>
#include <stdexcept>

#include "cli/shape.h"
#include "cli/status.h"
#include "src/bits.h"
#include "src/cpu/kernels.h"
#include "src/exec.h"
#include "src/nearest.h"

namespace dropkit::bench {
namespace {

constexpr int64_t kBytesOfTask = 1 << 17;  // a copy's, as many as a task of Apply has in f32

template <typename Value>
struct Word {
  const char* name;
  Value value;
};
constexpr Word<DType> kDTypes[] = {
    {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"f64", DType::kF64}};
constexpr Word<Layout> kLayouts[] = {{"first", Layout::kChannelsFirst}, {"last", Layout::kChannelsLast}};
constexpr Word<Task> kTasks[] = {{"forward", Task::kForward},
                                 {"in_place", Task::kInPlace},
                                 {"sample", Task::kSample},
                                 {"backward", Task::kBackward},
                                 {"recompute", Task::kRecompute}};

template <typename Value, size_t kCount>
Value Find(const char* what, const std::string& word, const Word<Value> (&words)[kCount]) {
  std::vector<std::string> names;
  for (const Word<Value>& candidate : words) {
    if (word == candidate.name) return candidate.value;
    names.push_back(candidate.name);
  }
  throw CLI::ValidationError(what, "'" + word + "'" + DidYouMean(word, names) + " allowed: " + Join(names));
}

// Small numbers of both signs, no two alike nearby.
void Fill(DType dtype, uint8_t* memory, int64_t bytes) {
  const auto width = static_cast<int64_t>(SizeOf(dtype));
  for (int64_t i = 0; i * width < bytes; ++i) {
    const float value = static_cast<float>((i * 37) % 255 - 127) / 64.0f;
    const double wide = value;
    const Float16 half = ToFloat16(value);
    const BFloat16 brain = ToBFloat16(value);
    const void* source = dtype == DType::kF64   ? static_cast<const void*>(&wide)
                         : dtype == DType::kF32 ? static_cast<const void*>(&value)
                         : dtype == DType::kF16 ? static_cast<const void*>(&half)
                                                : static_cast<const void*>(&brain);
    std::memcpy(memory + i * width, source, static_cast<size_t>(width));
  }
}

[[noreturn]] void Differs(const Case& c, const std::string& what) {
  throw std::runtime_error(c.line + ": " + what + " differs from the reference backend's; nothing was timed");
}

}  // namespace

Case ReadCase(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::string spec, shape, dtype, layout, task, more;
  words >> spec >> shape >> dtype >> layout >> task;
  if (task.empty() || words >> more) {
    throw CLI::ValidationError("case", "'" + std::string(line) +
                                           "' has not five words; allowed: CASE SHAPE DTYPE LAYOUT " +
                                           "PASS, such as dropblock:block=7@0.1 8,64,28,28 f32 first forward");
  }
  Case c;
  cli::Check(ParseCase(spec, &c.spec, &c.p), "CASE");
  c.shape = cli::ReadShape(shape);
  c.dtype = Find("DTYPE", dtype, kDTypes);
  c.layout = Find("LAYOUT", layout, kLayouts);
  c.task = Find("PASS", task, kTasks);
  if (std::count(c.shape.begin(), c.shape.end(), 0) > 0) {
    throw CLI::ValidationError("SHAPE", shape + " has no elements to time; allowed: sizes above 0");
  }
  c.line = spec + " " + shape + " " + dtype + " " + layout + " " + task;
  return c;
}

std::vector<Case> ReadCases(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("--cases " + path + ": cannot be opened");
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    if (!line.empty() && line[0] != '#') cases.push_back(ReadCase(line));
  }
  if (cases.empty()) throw std::runtime_error("--cases " + path + ": no case in it");
  return cases;
}

void Setup::Release::operator()(void* memory) const { std::free(memory); }

// On a page, so that neither side of a comparison has luck with its alignment.
Setup::Memory Setup::Allocate(int64_t bytes) {
  constexpr int64_t kPage = 4096;
  void* memory = std::aligned_alloc(kPage, static_cast<size_t>((bytes + kPage - 1) / kPage * kPage));
  if (memory == nullptr) throw std::bad_alloc();
  return Memory(static_cast<uint8_t*>(memory));
}

Setup::Setup(const Case& c, const Exec& exec) : case_(c), exec_(exec) {
  bytes_ = static_cast<int64_t>(SizeOf(c.dtype));
  for (const int64_t size : c.shape) bytes_ *= size;
  x_memory_ = Allocate(bytes_);
  y_memory_ = Allocate(bytes_);
  Fill(c.dtype, x_memory_.get(), bytes_);
  std::memset(y_memory_.get(), 1, static_cast<size_t>(bytes_));
  x_ = cli::ViewOf(c.shape, c.dtype, c.layout, x_memory_.get());
  y_ = cli::ViewOf(c.shape, c.dtype, c.layout, y_memory_.get());
  cli::Check(storage_.Reserve(c.spec, x_), "CASE and SHAPE");
}

void Setup::Run() {
  ++key_[1];
  Mask* mask = &storage_.mask;
  Status status;
  switch (case_.task) {
    case Task::kForward:
      status = Drop(case_.spec, case_.p, key_, Pass::kForward, x_, y_, exec_, mask);
      break;
    case Task::kInPlace:
      status = Drop(case_.spec, case_.p, key_, Pass::kForward, x_, x_, exec_, mask);
      break;
    case Task::kSample:
      status = Sample(case_.spec, case_.p, key_, x_, exec_, mask);
      break;
    case Task::kBackward:
      status = Apply(*mask, Pass::kBackward, x_, y_, exec_);
      break;
    case Task::kRecompute:
      status = Drop(case_.spec, case_.p, key_, Pass::kBackward, x_, y_, exec_, mask);
      break;
  }
  cli::Check(status, "CASE");
}

void Setup::Copy(Yardstick yardstick) {
  RunTasks(exec_, (bytes_ + kBytesOfTask - 1) / kBytesOfTask, [&](int64_t task) {
    const int64_t first = task * kBytesOfTask, count = std::min(kBytesOfTask, bytes_ - first);
    const uint8_t* from = x_memory_.get() + first;
    uint8_t* to = y_memory_.get() + first;
    if (yardstick == Yardstick::kLibc) {
      std::memcpy(to, from, static_cast<size_t>(count));
    } else {
      cpu::ChosenKernels().copy(from, to, count, yardstick == Yardstick::kStreaming);
    }
  });
}

void Setup::Check() {
  cli::Check(Drop(case_.spec, case_.p, key_, Pass::kForward, x_, y_, exec_, &storage_.mask), "CASE");
  CheckSample(0, storage_.mask);
  CheckSample(case_.shape[0] - 1, storage_.mask);
}

// The reference draws sample n alone; the gain of over=tensor is the whole batch's, so its counts are put in.
void Setup::CheckSample(int64_t n, const Mask& whole) {
  Case one = case_;
  one.shape[0] = 1;
  const int64_t sample_bytes = bytes_ / case_.shape[0];
  std::vector<uint8_t> expected(static_cast<size_t>(sample_bytes));
  View x = cli::ViewOf(one.shape, one.dtype, one.layout, x_memory_.get() + n * sample_bytes);
  View y = cli::ViewOf(one.shape, one.dtype, one.layout, expected.data());
  x.first_sample = y.first_sample = n;
  Exec reference;
  reference.backend = "reference";
  MaskStorage storage;
  cli::Check(storage.Reserve(one.spec, x), "CASE");
  cli::Check(Sample(one.spec, one.p, key_, x, reference, &storage.mask), "CASE");
  Mask mask = storage.mask;
  for (int64_t i = 0; i < mask.num_bits; ++i) {
    if (GetBit(mask.bits, i) != GetBit(whole.bits, n * whole.sample_stride + i)) Differs(case_, "the mask");
  }
  const int64_t counts = mask.num_kept;
  if (!std::equal(mask.kept, mask.kept + counts, whole.kept + n * counts)) Differs(case_, "a count");
  int64_t kept_of_all = 0;
  for (int64_t i = 0; i < whole.num_kept; ++i) kept_of_all += whole.kept[i];
  if (mask.spec.over == Over::kTensor) {
    mask.kept = &kept_of_all;
    mask.num_kept = 1;
    mask.total = whole.total;
  }
  cli::Check(Apply(mask, Pass::kForward, x, y, reference), "CASE");
  if (std::memcmp(expected.data(), y_memory_.get() + n * sample_bytes, expected.size()) != 0)
    Differs(case_, "an output");
}

}  // namespace dropkit::bench
