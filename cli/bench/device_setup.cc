// The last of the keys is the captured call's. Everything is compared whole: the host has the processor's result of the
// same key in memory.
#include "cli/bench/device_setup.h"

#include <cstring>
#include <numeric>
#include <stdexcept>

#include "cli/memory.h"
#include "cli/shape.h"
#include "cli/status.h"

namespace dropkit::bench {
namespace {

constexpr int kKeys = 64;
constexpr int kHostCopies = 3;  // x, what is expected, and what came

int64_t BytesOf(const Case& c) {
  int64_t bytes = static_cast<int64_t>(SizeOf(c.dtype));
  for (const int64_t size : c.shape) bytes *= size;
  return bytes;
}

// A limit on the program's memory would refuse what a driver merely reserves, so it is asked before.
std::vector<uint8_t> FilledOnHost(const Case& c) {
  const auto bytes = static_cast<size_t>(BytesOf(c));
  const std::optional<uint64_t> free = cli::FreeMemory();
  if (free && *free / kHostCopies < bytes) throw std::bad_alloc();
  std::vector<uint8_t> x(bytes);
  Fill(c.dtype, x.data(), static_cast<int64_t>(bytes));
  return x;
}

std::vector<uint8_t> ReadAll(const DeviceMemory& memory) {
  std::vector<uint8_t> bytes(memory.bytes());
  memory.Read(bytes.data());
  return bytes;
}

bool Writes(Call call) { return call != Call::kSample; }
bool IsForward(Call call) { return call == Call::kForward || call == Call::kInPlace; }

}  // namespace

DeviceSetup::DeviceSetup(const Case& c, cli::Device& device, const std::string& backend)
    : case_(c),
      device_(device),
      backend_(backend),
      bytes_(BytesOf(c)),
      host_x_(FilledOnHost(c)),
      x_(device, host_x_.size()),
      y_(device, host_x_.size()),
      keys_(device, 16 * kKeys),
      p_(device, 4) {
  x_view_ = cli::ViewOf(c.shape, c.dtype, c.layout, x_.as<void>());
  y_view_ = c.call == bench::Call::kInPlace ? x_view_ : cli::ViewOf(c.shape, c.dtype, c.layout, y_.as<void>());
  cli::Check(Describe(c.spec, x_view_, &mask_), "CASE and SHAPE");
  bits_ = std::make_unique<DeviceMemory>(device, 8 * static_cast<size_t>(mask_.num_words()));
  kept_ = std::make_unique<DeviceMemory>(device, 8 * static_cast<size_t>(mask_.num_kept));
  threshold_ = std::make_unique<DeviceMemory>(device, 8);
  mask_.bits = bits_->as<uint64_t>();
  mask_.kept = kept_->as<int64_t>();
  mask_.threshold = threshold_->as<uint64_t>();
  exec_.backend = backend_.c_str();
  exec_.stream = device.stream();
  size_t scratch = 0;
  cli::Check(ScratchBytes(c.spec, x_view_, exec_, &scratch), "CASE and SHAPE");
  scratch_ = std::make_unique<DeviceMemory>(device, scratch);
  exec_.scratch = scratch_->as<void>();
  exec_.scratch_bytes = scratch;
  std::vector<uint64_t> keys(2 * kKeys);
  std::iota(keys.begin(), keys.end(), uint64_t{2026});
  keys_.Write(keys.data());
  p_.Write(&c.p);
  ResetX();
}

void DeviceSetup::ResetX() { x_.Write(host_x_.data()); }

void DeviceSetup::Call(Probability p, Key key) {
  const Spec& spec = case_.spec;
  Status status;
  switch (case_.call) {
    case bench::Call::kForward:
    case bench::Call::kInPlace:
      status = Drop(spec, p, key, Pass::kForward, x_view_, y_view_, exec_, &mask_);
      break;
    case bench::Call::kSample:
      status = Sample(spec, p, key, x_view_, exec_, &mask_);
      break;
    case bench::Call::kBackward:
      status = Apply(mask_, Pass::kBackward, x_view_, y_view_, exec_);
      break;
    case bench::Call::kRecompute:
      status = Drop(spec, p, key, Pass::kBackward, x_view_, y_view_, exec_, &mask_);
      break;
  }
  cli::Check(status, "CASE");
}

void DeviceSetup::Run() { Call(case_.p, keys_.as<uint64_t>() + 2 * (turn_++ % (kKeys - 1))); }

std::unique_ptr<cli::Replay> DeviceSetup::Capture() {
  return device_.Capture([this] { Call(Probability(p_.as<const float>()), keys_.as<uint64_t>() + 2 * (kKeys - 1)); });
}

void DeviceSetup::Copy() { device_.Copy(y_.as<void>(), x_.as<void>(), static_cast<size_t>(bytes_)); }

void DeviceSetup::Differs(const char* how, const char* what) const {
  throw std::runtime_error(case_.line + ": " + what + " of a call " + how +
                           " differs from the backend cpu's; nothing was timed");
}

void DeviceSetup::CompareMask(const Mask& expected, const char* how) {
  const auto differs = [](const DeviceMemory& memory, const void* wanted) {
    return std::memcmp(ReadAll(memory).data(), wanted, memory.bytes()) != 0;
  };
  if (differs(*threshold_, expected.threshold)) Differs(how, "T");
  if (differs(*bits_, expected.bits)) Differs(how, "the mask");
  if (differs(*kept_, expected.kept)) Differs(how, "a count");
}

void DeviceSetup::Compare(const Draw& draw, const char* how) {
  cli::Check(device_.Synchronise(), "CASE");
  Exec cpu;
  cpu.backend = "cpu";
  MaskStorage storage;
  const View x = cli::ViewOf(case_.shape, case_.dtype, case_.layout, host_x_.data());
  cli::Check(storage.Reserve(case_.spec, x), "CASE");
  cli::Check(Sample(case_.spec, draw.p, draw.key, x, cpu, &storage.mask), "CASE");
  CompareMask(storage.mask, how);
  const int64_t kept = std::accumulate(storage.mask.kept, storage.mask.kept + storage.mask.num_kept, int64_t{0});
  is_trivial_ = kept == 0 || kept == storage.mask.total;
  if (!Writes(case_.call)) return;
  std::vector<uint8_t> expected(host_x_.size());
  const View y = cli::ViewOf(case_.shape, case_.dtype, case_.layout, expected.data());
  cli::Check(Apply(storage.mask, IsForward(case_.call) ? Pass::kForward : Pass::kBackward, x, y, cpu), "CASE");
  if (ReadAll(case_.call == bench::Call::kInPlace ? x_ : y_) != expected) Differs(how, "an output");
}

void DeviceSetup::WriteDraw(const Draw& draw) {
  device_.ToDevice(keys_.as<uint64_t>() + 2 * (kKeys - 1), draw.key, 16);
  p_.Write(&draw.p);
  ResetX();
  const std::vector<uint8_t> untouched(y_.bytes(), 1);
  y_.Write(untouched.data());
  if (case_.call != bench::Call::kBackward) return;
  const Key key = keys_.as<uint64_t>() + 2 * (kKeys - 1);
  cli::Check(Sample(case_.spec, Probability(p_.as<const float>()), key, x_view_, exec_, &mask_), "CASE");
}

void DeviceSetup::Check() {
  const Draw later[] = {{{2018, 2}, case_.p / 2}, {{2018, 3}, case_.p}};
  const Draw first = {{2018, 1}, case_.p};
  WriteDraw(first);
  Call(first.p, keys_.as<uint64_t>() + 2 * (kKeys - 1));
  Compare(first, "as it is");
  const std::unique_ptr<cli::Replay> replay = Capture();
  for (const Draw& draw : later) {
    WriteDraw(draw);
    replay->Launch();
    Compare(draw, "that was captured");
  }
}

}  // namespace dropkit::bench
