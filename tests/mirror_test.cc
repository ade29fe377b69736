// `dropkit check` on a device: calls get addresses of the device's memory alone, what they write there comes back, and
// what they write beside it is found. The device is memory of the host, the backend cpu's, sound or broken on purpose.
#include "cli/check/mirror.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <stdexcept>

#include "cli/check/check.h"

namespace dropkit::check {
namespace {

constexpr uint64_t kSeed = 2018;

// Knows which memory is its own.
class WatchedDevice : public cli::Device {
 public:
  void* stream() override { return this; }
  void* Allocate(size_t bytes) override {
    if (lost_) throw std::runtime_error("CUDA: cudaMalloc: lost");
    void* memory = host_->Allocate(bytes);
    regions_.insert({static_cast<uint8_t*>(memory), bytes});
    return memory;
  }
  void Free(void* memory) override {
    std::erase_if(regions_, [&](const auto& region) { return region.first == memory; });
    host_->Free(memory);
  }
  void ToDevice(void* device, const void* host, size_t bytes) override { host_->ToDevice(device, host, bytes); }
  void ToHost(void* host, const void* device, size_t bytes) override { host_->ToHost(host, device, bytes); }
  void Copy(void* to, const void* from, size_t bytes) override { host_->Copy(to, from, bytes); }
  Status Synchronise() override { return lost_ ? Status::Internal("CUDA: lost") : Status(); }
  bool lost() const override { return lost_; }
  void Delay(Caches) override {}
  void Mark(int) override {}
  double SecondsBetween(int, int) override { return 0; }
  std::unique_ptr<cli::Replay> Capture(const std::function<void()>&) override { return nullptr; }
  size_t fence_bytes() const override { return host_->fence_bytes(); }
  Facts facts() override { return {}; }

  bool Owns(const void* address) const {
    for (const auto& [begin, bytes] : regions_) {
      if (address >= begin && address <= begin + bytes) return true;
    }
    return false;
  }
  void Lose() { lost_ = true; }
  size_t held() const { return regions_.size(); }

 private:
  std::unique_ptr<cli::Device> host_ = cli::MakeHostDevice();
  std::set<std::pair<uint8_t*, size_t>> regions_;
  bool lost_ = false;
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
