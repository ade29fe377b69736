// `dropkit check` on a device: calls get addresses of the device's memory alone, what they write there comes back, and
// what they write beside it is found. The device is memory of the host, the backend cpu's, sound or broken on purpose.
#include "cli/check/mirror.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <stdexcept>
#include <tuple>

#include "cli/check/check.h"

namespace dropkit::check {
namespace {

constexpr uint64_t kSeed = 2018;

// Knows which memory is its own, and which of it has been set from the host.
class WatchedDevice : public cli::Device {
 public:
  explicit WatchedDevice(bool has_fences = true) : has_fences_(has_fences) {}
  void* stream() override { return this; }
  void* Allocate(size_t bytes) override {
    if (lost_) throw std::runtime_error("CUDA: cudaMalloc: lost");
    void* memory = host_->Allocate(bytes);
    std::memset(memory, 0xEE, bytes);
    regions_.insert({static_cast<uint8_t*>(memory), bytes});
    return memory;
  }
  void Free(void* memory) override {
    std::erase_if(regions_, [&](const auto& region) { return region.first == memory; });
    set_.erase(static_cast<uint8_t*>(memory));
    host_->Free(memory);
  }
  void ToDevice(void* device, const void* host, size_t bytes) override {
    set_.insert(static_cast<uint8_t*>(device));
    host_->ToDevice(device, host, bytes);
  }
  void ToHost(void* host, const void* device, size_t bytes) override { host_->ToHost(host, device, bytes); }
  void Copy(void* to, const void* from, size_t bytes) override { host_->Copy(to, from, bytes); }
  Status Synchronise() override { return lost_ ? Status::Internal("CUDA: lost") : Status(); }
  bool lost() const override { return lost_; }
  void Delay(Caches) override {}
  void Mark(int) override {}
  double SecondsBetween(int, int) override { return 0; }
  std::unique_ptr<cli::Replay> Capture(const std::function<void()>&) override { return nullptr; }
  size_t fence_bytes() const override { return has_fences_ ? host_->fence_bytes() : 0; }
  Facts facts() override { return {}; }

  bool Owns(const void* address) const {
    for (const auto& [begin, bytes] : regions_) {
      if (address >= begin && address <= begin + bytes) return true;
    }
    return false;
  }
  bool IsSet(const void* address) const {
    for (const auto& [begin, bytes] : regions_) {
      if (address >= begin && address < begin + bytes) return set_.contains(begin);
    }
    return false;
  }
  void Lose() { lost_ = true; }
  size_t held() const { return regions_.size(); }

 private:
  std::unique_ptr<cli::Device> host_ = cli::MakeHostDevice();
  std::set<std::pair<uint8_t*, size_t>> regions_;
  std::set<uint8_t*> set_;
  bool has_fences_, lost_ = false;
};

WatchedDevice& Watched() {
  static auto* device = new WatchedDevice;
  return *device;
}

Target CpuThere() { return Target{.backend = "cpu", .device = &Watched()}; }

bool Foreign(const void* address) { return address != nullptr && !Watched().Owns(address); }

Report RunCases(const Target& target, int64_t cases) { return Check(target, kSeed, {.seconds = 300, .cases = cases}); }

TEST(MirrorTest, ASoundBackendPassesAndNothingIsKept) {
  const Report report = RunCases(CpuThere(), 1500);
  EXPECT_FALSE(report.mismatch) << report.mismatch->what << "\n" << report.mismatch->reproducer;
  EXPECT_GT(report.tally.trusted, 1000);
  EXPECT_GT(report.tally.refused, 25);
  EXPECT_EQ(report.tally.verbs.size(), 5u);
  EXPECT_EQ(Watched().held(), 0u);
}

// A refused call may hold nonsense, and a part without samples a place past the end; others have nothing of the host's.
TEST(MirrorTest, NoAddressOfTheHostIsPassedOn) {
  Target target = CpuThere();
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    const bool foreign = Foreign(mask.bits) || Foreign(mask.kept) || Foreign(mask.threshold) || Foreign(mask.key) ||
                         Foreign(x.data) || Foreign(y.data) || Foreign(exec.scratch) || exec.stream != &Watched();
    return status.ok() && foreign && x.samples > 0 ? Status::Internal("an address of the host") : status;
  };
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    const Status status = Sample(spec, p, key, x, exec, mask);
    const bool foreign = Foreign(p.device) || Foreign(key) || (mask && (Foreign(mask->bits) || Foreign(mask->kept)));
    return status.ok() && (foreign || !exec.scratch) ? Status::Internal("an address of the host") : status;
  };
  const Report report = RunCases(target, 600);
  EXPECT_FALSE(report.mismatch) << report.mismatch->what << "\n" << report.mismatch->reproducer;
}

// Under AddressSanitizer, which ends the program there, a twin has no fences.
TEST(MirrorTest, WritesBesideATwinAreFound) {
  if (Watched().fence_bytes() == 0) GTEST_SKIP() << "AddressSanitizer watches the ends";
  Target target = CpuThere();
  target.sample = [](const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
    const Status status = Sample(spec, p, key, x, exec, mask);
    if (status.ok() && mask->num_bits > 0) mask->bits[mask->num_words()] = 0;
    return status;
  };
  const Report past = RunCases(target, 200);
  ASSERT_TRUE(past.mismatch);
  EXPECT_EQ(past.mismatch->what, "memory beside mask.bits was written on the device");
  target = CpuThere();
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    if (!status.ok() && exec.scratch) static_cast<uint8_t*>(exec.scratch)[-1] ^= 1;
    return status;
  };
  const Report refused = RunCases(target, 2000);
  ASSERT_TRUE(refused.mismatch);
  EXPECT_NE(refused.mismatch->what.find("memory beside scratch was written on the device"), std::string::npos)
      << refused.mismatch->what;
}

TEST(MirrorTest, WhatIsWrittenThereComesBack) {
  Target target = CpuThere();
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    if (status.ok() && x.data && x.data != y.data) *static_cast<uint8_t*>(x.data) ^= 1;
    return status;
  };
  const Report report = RunCases(target, 100);
  ASSERT_TRUE(report.mismatch);
  EXPECT_EQ(report.mismatch->what, "x, an input, was written");
}

// ---------------------------------------------------------------- memory that nobody has set

WatchedDevice& Bare() {
  static auto* device = new WatchedDevice(false);
  return *device;
}

// Which memory of the last call was set, as letters.
std::string seen;

void Look(const View& x, const View& y, const Mask& mask) {
  seen.clear();
  const std::pair<char, const void*> memory[] = {
      {'x', x.data}, {'y', y.data}, {'b', mask.bits}, {'k', mask.kept}, {'t', mask.threshold}};
  for (const auto& [letter, address] : memory) {
    if (Bare().IsSet(address)) seen += letter;
  }
}

Status LookingSample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
  Look(x, View(), *mask);
  return Sample(spec, p, key, x, exec, mask);
}

Status LookingApply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
  Look(x, y, mask);
  return Apply(mask, pass, x, y, exec);
}

Status LookingDrop(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
                   Mask* mask) {
  Look(x, y, *mask);
  return Drop(spec, p, key, pass, x, y, exec, mask);
}

// A read of what was not set is what initcheck tells of. Between y's elements, and in the other part of a batch, there
// must be something that is kept.
TEST(MirrorTest, WhatACallOnlyWritesIsNotSetBefore) {
  const Target samples{.backend = "cpu", .device = &Bare(), .sample = LookingSample};
  const Target others{.backend = "cpu", .device = &Bare(), .apply = LookingApply, .drop = LookingDrop};
  const std::tuple<const Target*, const char*, const char*> cases[] = {
      {&samples, "dropout shape=2,3,4", "x"},
      {&samples, "dropout shape=2,3,4 verb=split cut=1", "x"},
      {&samples, "dropout shape=2,3,4 spoilt=p.nan", "xbkt"},
      {&others, "dropout shape=2,3,4", "xbkt"},
      {&others, "dropout shape=2,3,4 x=02341/1/0/3/0/0 y=43210/1/0/5/0/0", "xbkt"},
      {&others, "dropout shape=2,3,4 y=01234/1/0/0/0/1", "xybkt"},
      {&others, "dropout shape=2,3,4 y=01234/2/0/0/0/0", "xybkt"},
      {&others, "dropout shape=2,3,4 inplace=yes", "xybkt"},
      {&others, "dropout shape=2,3,4 verb=split cut=1", "xybkt"},
      {&others, "dropout shape=2,3,4 spoilt=apply.pass", "xybkt"},
      {&others, "dropout shape=2,3,4 verb=drop", "x"},
      {&others, "dropout shape=2,3,4 verb=drop inplace=yes", "xy"},
  };
  for (const auto& [target, line, set] : cases) {
    Case c;
    ASSERT_TRUE(ReadCase(line, &c).ok()) << line;
    const Report report = CheckOne(*target, c);
    EXPECT_FALSE(report.mismatch) << line << "\n" << report.mismatch->what;
    EXPECT_EQ(seen, set) << line;
  }
}

TEST(MirrorTest, ASoundBackendPassesWithoutFences) {
  const Report report = RunCases({.backend = "cpu", .device = &Bare()}, 1500);
  EXPECT_FALSE(report.mismatch) << report.mismatch->what << "\n" << report.mismatch->reproducer;
  EXPECT_GT(report.tally.refused, 25);
}

// ---------------------------------------------------------------- devices that get lost

// What the losing verbs lose.
WatchedDevice* to_lose = nullptr;

Status LosingSample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
  to_lose->Lose();
  return Sample(spec, p, key, x, exec, mask);
}

Status LosingSpread(const Spec& spec, Probability p, const uint8_t* bytes, const View& x, const Exec& exec,
                    Mask* mask) {
  to_lose->Lose();
  return Spread(spec, p, bytes, x, exec, mask);
}

Status LosingPack(const Spec& spec, Probability p, const uint8_t* bytes, const View& x, const Exec& exec, Mask* mask) {
  to_lose->Lose();
  return Pack(spec, p, bytes, x, exec, mask);
}

Status LosingApply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
  to_lose->Lose();
  return Apply(mask, pass, x, y, exec);
}

// The launch that loses the device says that all is well; the next Allocate() throws.
void ExpectLoss(const char* line, void (*lose_by)(Target* target)) {
  WatchedDevice device;
  to_lose = &device;
  Target target{.backend = "cpu", .device = &device};
  lose_by(&target);
  Case c;
  ASSERT_TRUE(ReadCase(line, &c).ok()) << line;
  const Report report = CheckOne(target, c);
  ASSERT_TRUE(report.mismatch) << line;
  EXPECT_EQ(report.mismatch->what, "CUDA: lost");
  EXPECT_EQ(report.mismatch->drawn, Print(c));
}

TEST(MirrorTest, ADeviceLostInAnyCallIsSaid) {
  const auto in_sample = [](Target* target) { target->sample = LosingSample; };
  ExpectLoss("dropout shape=2,3", in_sample);
  ExpectLoss("dropout verb=split shape=2,3 cut=1", in_sample);
  ExpectLoss("dropout shape=2,3 spoilt=apply.mask.bits.null", in_sample);
  ExpectLoss("dropout verb=spread shape=2,3", [](Target* target) { target->spread = LosingSpread; });
  ExpectLoss("dropout verb=pack shape=2,3", [](Target* target) { target->pack = LosingPack; });
  ExpectLoss("dropout shape=2,3", [](Target* target) { target->apply = LosingApply; });
}

TEST(MirrorTest, NothingIsShrunkOnALostDevice) {
  WatchedDevice device;
  to_lose = &device;
  Target target{.backend = "cpu", .device = &device};
  target.sample = LosingSample;
  const Report report = RunCases(target, 100);
  ASSERT_TRUE(report.mismatch);
  EXPECT_EQ(report.mismatch->what, "CUDA: lost");
  EXPECT_EQ(report.mismatch->reproducer, report.mismatch->drawn);
}

// A wrong output of the case as drawn; a smaller one loses the device.
TEST(MirrorTest, ADeviceLostWhileShrinkingEndsTheRun) {
  WatchedDevice device;
  to_lose = &device;
  static bool is_wrong;
  is_wrong = false;
  Target target{.backend = "cpu", .device = &device};
  target.apply = [](const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
    const Status status = Apply(mask, pass, x, y, exec);
    if (is_wrong && mask.total <= 500) to_lose->Lose();
    if (!status.ok() || mask.total <= 500) return status;
    is_wrong = true;
    *static_cast<uint8_t*>(y.data) ^= 1;
    return status;
  };
  const Report report = RunCases(target, 100);
  ASSERT_TRUE(report.mismatch);
  EXPECT_TRUE(report.mismatch->what.ends_with(" (a smaller case left the device unusable)")) << report.mismatch->what;
  EXPECT_NE(report.mismatch->reproducer, report.mismatch->drawn);
}

}  // namespace
}  // namespace dropkit::check
