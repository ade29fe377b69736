// Reading, filling, checking and running a case.
#include "cli/bench/case.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <new>
#include <numeric>
#include <sstream>
#include <stdexcept>

#include "cli/shape.h"
#include "cli/status.h"
#include "src/bits.h"
#include "src/cpu/kernels.h"
#include "src/exec.h"
#include "src/nearest.h"
#include "src/number.h"

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
constexpr Word<Call> kCalls[] = {{"forward", Call::kForward},
                                 {"in_place", Call::kInPlace},
                                 {"sample", Call::kSample},
                                 {"backward", Call::kBackward},
                                 {"recompute", Call::kRecompute}};

template <typename Value, size_t kCount>
Value Find(const char* what, const std::string& word, const Word<Value> (&words)[kCount]) {
  std::vector<std::string> names;
  for (const Word<Value>& candidate : words) {
    if (word == candidate.name) return candidate.value;
    names.push_back(candidate.name);
  }
  throw CLI::ValidationError(what, "'" + word + "'" + DidYouMean(word, names) + " allowed: " + Join(names));
}

[[noreturn]] void Differs(const Case& c, const std::string& what) {
  throw std::runtime_error(c.line + ": " + what + " differs from the reference backend's; nothing was timed");
}

}  // namespace

// The numbers repeat, so what is filled is copied.
void Fill(DType dtype, uint8_t* memory, int64_t bytes) {
  constexpr int64_t kPeriod = 255;
  const auto width = static_cast<int64_t>(SizeOf(dtype));
  int64_t filled = 0;
  for (int64_t i = 0; i < kPeriod && filled < bytes; ++i, filled += width) {
    const float value = static_cast<float>((i * 37) % kPeriod - 127) / 64.0f;
    const double wide = value;
    const Float16 half = ToFloat16(value);
    const BFloat16 brain = ToBFloat16(value);
    const void* source = dtype == DType::kF64   ? static_cast<const void*>(&wide)
                         : dtype == DType::kF32 ? static_cast<const void*>(&value)
                         : dtype == DType::kF16 ? static_cast<const void*>(&half)
                                                : static_cast<const void*>(&brain);
    std::memcpy(memory + filled, source, static_cast<size_t>(width));
  }
  for (; filled < bytes; filled *= 2)
    std::memcpy(memory + filled, memory, static_cast<size_t>(std::min(filled, bytes - filled)));
}

Case ReadCase(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::string spec, shape, dtype, layout, call, more;
  words >> spec >> shape >> dtype >> layout >> call;
  if (call.empty() || words >> more) {
    throw CLI::ValidationError("case", "'" + std::string(line) +
                                           "' has not five words; allowed: CASE SHAPE DTYPE LAYOUT " +
                                           "PASS, such as dropblock:block=7@0.1 8,64,28,28 f32 first forward");
  }
  Case c;
  cli::Check(ParseCase(spec, &c.spec, &c.p), "CASE");
  c.shape = cli::ReadShape(shape);
  c.dtype = Find("DTYPE", dtype, kDTypes);
  c.layout = Find("LAYOUT", layout, kLayouts);
  c.call = Find("PASS", call, kCalls);
  if (std::count(c.shape.begin(), c.shape.end(), 0) > 0) {
    throw CLI::ValidationError("SHAPE", shape + " has no elements to time; allowed: sizes above 0");
  }
  const std::string rest = " " + shape + " " + dtype + " " + layout + " " + call;
  c.line = spec + rest;
  c.full = PrintSpec(c.spec, SpecForm::kFull) + "@" + PrintNumber(c.p) + rest;
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
  Mask* mask = &storage_.mask;
  if (case_.call != Call::kBackward) ++key_[1];
  Status status;
  switch (case_.call) {
    case Call::kForward:
      status = Drop(case_.spec, case_.p, key_, Pass::kForward, x_, y_, exec_, mask);
      break;
    case Call::kInPlace:
      status = Drop(case_.spec, case_.p, key_, Pass::kForward, x_, x_, exec_, mask);
      break;
    case Call::kSample:
      status = Sample(case_.spec, case_.p, key_, x_, exec_, mask);
      break;
    case Call::kBackward:
      status = Apply(*mask, Pass::kBackward, x_, y_, exec_);
      break;
    case Call::kRecompute:
      status = Drop(case_.spec, case_.p, key_, Pass::kBackward, x_, y_, exec_, mask);
      break;
  }
  cli::Check(status, "CASE");
}

bool Setup::is_trivial() const {
  const Mask& mask = storage_.mask;
  const int64_t kept = std::accumulate(mask.kept, mask.kept + mask.num_kept, int64_t{0});
  return kept == 0 || kept == mask.total;
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
  const int64_t sample_bytes = bytes_ / case_.shape[0], last = case_.shape[0] - 1;
  const uint8_t* x = x_memory_.get();
  const std::vector<uint8_t> first_x(x, x + sample_bytes), last_x(x + last * sample_bytes, x + bytes_);
  if (case_.call == Call::kBackward) {
    cli::Check(Sample(case_.spec, case_.p, key_, x_, exec_, &storage_.mask), "CASE");
  }
  Run();
  CheckSample(0, first_x.data());
  CheckSample(last, last_x.data());
}

// The reference draws sample n alone; the gain of over=tensor is the whole batch's, so its counts are put in.
void Setup::CheckSample(int64_t n, const uint8_t* x_before) {
  const Mask& whole = storage_.mask;
  const int64_t sample_bytes = bytes_ / case_.shape[0];
  std::vector<int64_t> shape = case_.shape;
  shape[0] = 1;
  std::vector<uint8_t> expected(x_before, x_before + sample_bytes);
  View x = cli::ViewOf(shape, case_.dtype, case_.layout, expected.data());
  x.first_sample = n;
  Exec reference;
  reference.backend = "reference";
  MaskStorage storage;
  cli::Check(storage.Reserve(case_.spec, x), "CASE");
  cli::Check(Sample(case_.spec, case_.p, key_, x, reference, &storage.mask), "CASE");
  Mask mask = storage.mask;
  for (int64_t i = 0; i < mask.num_bits; ++i) {
    if (GetBit(mask.bits, i) != GetBit(whole.bits, n * whole.sample_stride + i)) Differs(case_, "the mask");
  }
  const int64_t counts = mask.num_kept;
  if (!std::equal(mask.kept, mask.kept + counts, whole.kept + n * counts)) Differs(case_, "a count");
  if (case_.call == Call::kSample) return;
  int64_t kept_of_all = std::accumulate(whole.kept, whole.kept + whole.num_kept, int64_t{0});
  if (mask.spec.over == Over::kTensor) {
    mask.kept = &kept_of_all;
    mask.num_kept = 1;
    mask.total = whole.total;
  }
  const bool forward = case_.call == Call::kForward || case_.call == Call::kInPlace;
  cli::Check(Apply(mask, forward ? Pass::kForward : Pass::kBackward, x, x, reference), "CASE");
  const uint8_t* y = (case_.call == Call::kInPlace ? x_memory_ : y_memory_).get();
  if (std::memcmp(expected.data(), y + n * sample_bytes, expected.size()) != 0) Differs(case_, "an output");
}

}  // namespace dropkit::bench
