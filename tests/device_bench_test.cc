// `dropkit bench --backend cuda` without a card: its check and its clock, on a device that is the host, with the
// backend cpu in the place of cuda. What a device gives wrongly is not timed.
#include "cli/bench/device_bench.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "cli/bench/device_setup.h"

namespace dropkit::bench {
namespace {

// Passes everything on to the host; flips a bit of what comes back from a read of `bytes` bytes, once `after` were
// right.
class Flipping : public cli::Device {
 public:
  Flipping(size_t bytes, int after) : bytes_(bytes), after_(after) {}
  void* stream() override { return nullptr; }
  void* Allocate(size_t bytes) override { return host_->Allocate(bytes); }
  void Free(void* memory) override { host_->Free(memory); }
  void ToDevice(void* device, const void* host, size_t bytes) override { host_->ToDevice(device, host, bytes); }
  void ToHost(void* host, const void* device, size_t bytes) override {
    host_->ToHost(host, device, bytes);
    if (bytes == bytes_ && after_-- <= 0) static_cast<uint8_t*>(host)[bytes / 2] ^= 1;
  }
  void Copy(void* to, const void* from, size_t bytes) override { host_->Copy(to, from, bytes); }
  Status Synchronise() override { return Status(); }
  bool lost() const override { return false; }
  void Delay(Caches) override {}
  void Mark(int mark) override { host_->Mark(mark); }
  double SecondsBetween(int from, int to) override { return host_->SecondsBetween(from, to); }
  std::unique_ptr<cli::Replay> Capture(const std::function<void()>& work) override { return host_->Capture(work); }
  size_t fence_bytes() const override { return 0; }
  Facts facts() override { return {{"name", "flipping"}}; }

 private:
  std::unique_ptr<cli::Device> host_ = cli::MakeHostDevice();
  size_t bytes_;
  int after_;
};

constexpr const char* kCalls[] = {"forward", "in_place", "sample", "backward", "recompute"};

TEST(DeviceBenchTest, EveryCallIsCheckedAndTimed) {
  const std::unique_ptr<cli::Device> host = cli::MakeHostDevice();
  std::vector<Case> cases;
  for (const char* call : kCalls)
    cases.push_back(ReadCase(std::string("dropblock:block=3@0.1 4,8,12,12 bf16 last ") + call));
  const auto report = BenchOnDevice(*host, "cpu", cases, 0, "a commit");
  ASSERT_EQ(report["results"].size(), cases.size());
  for (const auto& row : report["results"]) {
    EXPECT_GE(row["pairs"].get<int>(), 21);
    EXPECT_GT(row["ratio"].get<double>(), 0);
    EXPECT_GT(row["replay_us"].get<double>(), 0);
    EXPECT_FALSE(row["trivial"].get<bool>());
    EXPECT_EQ(row.contains("gigabytes_per_second"), row["line"].get<std::string>().find("sample") == std::string::npos);
  }
  EXPECT_EQ(report["device"]["name"], "the host");
  EXPECT_TRUE(report["left_out"].empty());
}

TEST(DeviceBenchTest, ATrivialMaskIsNotTrusted) {
  const std::unique_ptr<cli::Device> host = cli::MakeHostDevice();
  const auto report = BenchOnDevice(*host, "cpu", {ReadCase("dropout@0 2,3,4 f32 first forward")}, 0, "a commit");
  EXPECT_TRUE(report["results"][0]["trivial"].get<bool>());
  EXPECT_FALSE(report["results"][0]["trusted"].get<bool>());
}

// A bit of the output, the mask, a count or T, of the first call and of each replay.
TEST(DeviceBenchTest, AWrongResultIsNotTimed) {
  const std::string line = "dropout@0.3 3,5,40 f32 first forward";
  const std::pair<size_t, const char*> reads[] = {
      {2400, "an output"}, {8 * 10, "the mask"}, {8 * 3, "a count"}, {8, "T"}};
  for (const auto& [bytes, what] : reads) {
    for (const int after : {0, 1, 2}) {
      Flipping device(bytes, after);
      const Case c = ReadCase(line);
      DeviceSetup setup(c, device, "cpu");
      try {
        setup.Check();
        ADD_FAILURE() << what << " " << after << ": not found";
      } catch (const std::runtime_error& error) {
        const std::string how = after == 0 ? " of a call as it is differs" : " of a call that was captured differs";
        EXPECT_NE(std::string(error.what()).find(what + how), std::string::npos) << error.what();
      }
    }
  }
}

// A wrong case says nothing of the others: their figures are as good as without it.
TEST(DeviceBenchTest, AWrongCaseIsNamedAndTheNextIsTimed) {
  Flipping device(2400, 0);  // of the first case alone
  const auto report = BenchOnDevice(
      device, "cpu",
      {ReadCase("dropout@0.3 3,5,40 f32 first forward"), ReadCase("dropout@0.3 3,5,48 f32 first forward")}, 0,
      "a commit");
  ASSERT_EQ(report["results"].size(), 1u);
  EXPECT_EQ(report["results"][0]["line"], "dropout@0.3 3,5,48 f32 first forward");
  ASSERT_EQ(report["wrong"].size(), 1u);
  EXPECT_NE(report["wrong"][0]["reason"].get<std::string>().find("an output"), std::string::npos);
}

// What hangs in the last case leaves a report of all others.
TEST(DeviceBenchTest, TheReportIsSavedAfterEachCase) {
  Flipping device(2400, 0);
  std::vector<std::pair<size_t, size_t>> saved;  // timed, wrong
  BenchOnDevice(device, "cpu",
                {ReadCase("dropout@0.3 3,5,40 f32 first forward"), ReadCase("dropout@0.3 3,5,48 f32 first forward")}, 0,
                "a commit", [&](const auto& report) {
                  saved.push_back({report["results"].size(), report["wrong"].size()});
                });
  EXPECT_EQ(saved, (std::vector<std::pair<size_t, size_t>>{{0, 0}, {0, 1}, {1, 1}}));
}

TEST(DeviceBenchTest, WhatDoesNotFitIsLeftOut) {
  const std::unique_ptr<cli::Device> host = cli::MakeHostDevice();
  const auto report =
      BenchOnDevice(*host, "cpu", {ReadCase("dropout@0.3 1000000,1000,1000 f64 first forward")}, 0, "a commit");
  EXPECT_TRUE(report["results"].empty());
  ASSERT_EQ(report["left_out"].size(), 1u);
}

}  // namespace
}  // namespace dropkit::bench
