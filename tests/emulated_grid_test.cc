// The emulated grid keeps the promises of a card's that kernels are tested by, and catches a kernel that breaks its
// own.
#include "emulated/emulated_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "cuda/runtime.h"

namespace dropkit::cuda {
namespace {

constexpr unsigned kAll = ~0u;
constexpr int kThreads[] = {32, 64, 96, 256, 1024};

class EmulatedGridTest : public testing::Test {
 protected:
  void SetUp() override {
    emulated::SetSeed(1);
    emulated::ForgetLaunches();
  }
  void TearDown() override { emulated::SetThreads(0); }
};

__global__ void NameThreads(int64_t* out) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  out[index] += index * 1000 + gridDim.x;
}

TEST_F(EmulatedGridTest, EveryThreadRunsOnce) {
  for (const int threads : kThreads) {
    std::vector<int64_t> out(size_t{7} * threads);
    ASSERT_TRUE(Launch(NameThreads, 7, threads, nullptr, out.data()).ok());
    for (size_t i = 0; i < out.size(); ++i) ASSERT_EQ(out[i], static_cast<int64_t>(i) * 1000 + 7);
  }
}

// out[0..3] of each thread: a value of lane 5, of the lane beside it, of the lane 3 further, and who is odd.
__global__ void Exchange(uint64_t* out) {
  const unsigned lane = threadIdx.x % 32;
  uint64_t* own = out + 4 * (size_t{blockIdx.x} * blockDim.x + threadIdx.x);
  const uint64_t value = (uint64_t{threadIdx.x} << 32) + 7;
  own[0] = __shfl_sync(kAll, value, 5);
  own[1] = __shfl_xor_sync(kAll, value, 1);
  own[2] = __shfl_down_sync(kAll, value, 3);
  own[3] = __ballot_sync(kAll, lane % 2);
}

TEST_F(EmulatedGridTest, WarpsExchangeValues) {
  for (const int threads : kThreads) {
    std::vector<uint64_t> out(size_t{12} * threads);
    ASSERT_TRUE(Launch(Exchange, 3, threads, nullptr, out.data()).ok());
    for (int i = 0; i < 3 * threads; ++i) {
      const uint64_t thread = i % threads, lane = thread % 32, warp = thread - lane;
      EXPECT_EQ(out[4 * i], ((warp + 5) << 32) + 7);
      EXPECT_EQ(out[4 * i + 1], ((warp + (lane ^ 1)) << 32) + 7);
      EXPECT_EQ(out[4 * i + 2], ((warp + (lane + 3 < 32 ? lane + 3 : lane)) << 32) + 7);
      EXPECT_EQ(out[4 * i + 3], 0xaaaaaaaau);
    }
  }
}

// The halves of a warp are groups of their own and meet a different number of times.
__global__ void SumHalves(int* out) {
  const unsigned lane = threadIdx.x % 32;
  int sum = static_cast<int>(lane);
  if (lane < 16) {
    for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffu, sum, step);
  } else {
    __syncwarp(0xffff0000u);
  }
  out[threadIdx.x] = sum;
}

TEST_F(EmulatedGridTest, PartsOfAWarpMeetByThemselves) {
  std::vector<int> out(64);
  ASSERT_TRUE(Launch(SumHalves, 1, 64, nullptr, out.data()).ok());
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], i % 32 < 16 ? 120 : i % 32);
}

// A sum over the block in the ordinary way: warps, then the first warp over the warps; with f32, so that shuffles carry
// it.
__global__ void SumBlocks(const float* x, float* sums, int64_t count) {
  __shared__ float parts[32];
  float sum = 0;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += int64_t{gridDim.x} * blockDim.x)
    sum += x[i];
  for (int step = 16; step > 0; step /= 2) sum += __shfl_down_sync(kAll, sum, static_cast<unsigned>(step));
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x < 32) {
    sum = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0;
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(kAll, sum, step);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
  }
}

TEST_F(EmulatedGridTest, BlocksSumThroughSharedMemory) {
  std::vector<float> x(10007);
  std::iota(x.begin(), x.end(), 0.0f);
  for (const int threads : kThreads) {
    for (int seed = 0; seed < 5; ++seed) {
      emulated::SetSeed(seed);
      std::vector<float> sums(3);
      ASSERT_TRUE(Launch(SumBlocks, 3, threads, nullptr, x.data(), sums.data(), int64_t{4097}).ok());
      EXPECT_EQ(sums[0] + sums[1] + sums[2], 4096.0f * 4097 / 2);
    }
  }
}

__global__ void CountAtomically(uint32_t* out) {
  __shared__ uint32_t count, ones, zeros;
  if (threadIdx.x == 0) count = ones = 0, zeros = kAll;
  __syncthreads();
  atomicAdd(&count, threadIdx.x);
  atomicOr(&ones, 1u << threadIdx.x % 32);
  atomicAnd(&zeros, ~(1u << threadIdx.x % 7));
  __syncthreads();
  if (threadIdx.x == 0) out[0] = count, out[1] = ones, out[2] = zeros;
}

TEST_F(EmulatedGridTest, AtomicsMissNothing) {
  uint32_t out[3] = {};
  ASSERT_TRUE(Launch(CountAtomically, 2, 96, nullptr, out).ok());
  EXPECT_EQ(out[0], 96u * 95 / 2);
  EXPECT_EQ(out[1], kAll);
  EXPECT_EQ(out[2], ~0x7fu);
}

__global__ void RecordOrder(std::vector<unsigned>* order) { order->push_back(blockIdx.x * blockDim.x + threadIdx.x); }

std::vector<unsigned> OrderOf(uint64_t seed) {
  emulated::SetSeed(seed);
  std::vector<unsigned> order;
  EXPECT_TRUE(Launch(RecordOrder, 8, 64, nullptr, &order).ok());
  return order;
}

TEST_F(EmulatedGridTest, OrdersAreShuffledByTheSeed) {
  const std::vector<unsigned> first = OrderOf(1);
  EXPECT_EQ(first, OrderOf(1));
  EXPECT_NE(first, OrderOf(2));
  std::vector<unsigned> blocks, sorted = first;
  for (size_t i = 0; i < first.size(); i += 64) blocks.push_back(first[i] / 64);
  EXPECT_FALSE(std::is_sorted(blocks.begin(), blocks.end()));
  EXPECT_EQ(std::set<unsigned>(blocks.begin(), blocks.end()).size(), 8u);  // one after another
  EXPECT_FALSE(std::is_sorted(first.begin(), first.begin() + 64));
  std::sort(sorted.begin(), sorted.end());
  for (unsigned i = 0; i < sorted.size(); ++i) EXPECT_EQ(sorted[i], i);
}

// Every thread reads what another wrote; without the barrier that is luck.
template <bool kWaits>
__global__ void ReverseBlock(int* out) {
  __shared__ int values[256];
  values[threadIdx.x] = -1;
  __syncthreads();
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (kWaits) __syncthreads();
  out[threadIdx.x] = values[blockDim.x - 1 - threadIdx.x];
}

TEST_F(EmulatedGridTest, AMissingBarrierIsSeen) {
  std::vector<int> out(256), expected(256);
  std::iota(expected.rbegin(), expected.rend(), 0);
  ASSERT_TRUE(Launch(ReverseBlock<true>, 1, 256, nullptr, out.data()).ok());
  EXPECT_EQ(out, expected);
  ASSERT_TRUE(Launch(ReverseBlock<false>, 1, 256, nullptr, out.data()).ok());
  EXPECT_NE(out, expected);
}

TEST_F(EmulatedGridTest, LaunchesAreCounted) {
  std::vector<int64_t> out(3 * 64);
  int stream = 0;
  ASSERT_TRUE(Launch(NameThreads, 0, 64, &stream, out.data()).ok());
  EXPECT_TRUE(emulated::Launches().empty());
  ASSERT_TRUE(Launch(NameThreads, 3, 64, &stream, out.data()).ok());
  emulated::SetThreads(32);
  ASSERT_TRUE(Launch(NameThreads, 1, 64, nullptr, out.data()).ok());
  ASSERT_EQ(emulated::Launches().size(), 2u);
  EXPECT_EQ(emulated::Launches()[0].blocks, 3);
  EXPECT_EQ(emulated::Launches()[0].threads, 64);
  EXPECT_EQ(emulated::Launches()[0].stream, &stream);
  EXPECT_EQ(emulated::Launches()[1].threads, 32);
}

TEST_F(EmulatedGridTest, GridsThatNoCardHasAreRefused) {
  int64_t* const none = nullptr;
  EXPECT_FALSE(Launch(NameThreads, -1, 64, nullptr, none).ok());
  EXPECT_FALSE(Launch(NameThreads, int64_t{1} << 31, 64, nullptr, none).ok());
  EXPECT_FALSE(Launch(NameThreads, 1, 48, nullptr, none).ok());
  EXPECT_FALSE(Launch(NameThreads, 1, 2048, nullptr, none).ok());
  EXPECT_TRUE(emulated::Launches().empty());
}

TEST_F(EmulatedGridTest, TheRuntimeIsEmulatedToo) {
  EXPECT_EQ(Unavailable(), nullptr);
  EXPECT_EQ(Multiprocessors(), 4);
  uint64_t memory[4] = {1, 2, 3, 4};
  ASSERT_TRUE(Zero(memory, 24, nullptr).ok());
  EXPECT_EQ(memory[2], 0u);
  EXPECT_EQ(memory[3], 4u);
  EXPECT_EQ(emulated::Zeroings(), 1);
}

__global__ void LeaveEarly() {
  if (threadIdx.x == 40) return;
  __syncthreads();
}
__global__ void WaitAtTwoPlaces() {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void ShuffleInABranch() {
  if (threadIdx.x % 32 != 3) __shfl_xor_sync(kAll, 1, 1);
}
__global__ void ShuffleAndSync() {
  if (threadIdx.x % 32 == 3) {
    __syncwarp();
  } else {
    __shfl_xor_sync(kAll, 1, 1);
  }
}
__global__ void ReadOutside() { __shfl_sync(threadIdx.x % 32 < 16 ? 0xffffu : 0xffff0000u, 1, 20); }
__global__ void WaitForOthers() {
  if (threadIdx.x % 32 != 0) __syncwarp(1u);
}
__global__ void OverflowTheStack(int* out) {
  volatile char large[1 << 20];
  for (int i = 0; i < (1 << 20); ++i) large[i] = 0;
  out[0] = large[5];
}

using EmulatedGridDeathTest = EmulatedGridTest;

TEST_F(EmulatedGridDeathTest, BarriersThatCannotBeMetAbort) {
  EXPECT_DEATH(std::ignore = Launch(LeaveEarly, 3, 64, nullptr),
               "not all threads reach in block [012] of 3:\n.*__syncthreads at .*emulated_grid_test.cc:[0-9]+, "
               ".*LeaveEarly.*\n.*thread 40 of 64 has left");
  EXPECT_DEATH(std::ignore = Launch(WaitAtTwoPlaces, 1, 64, nullptr), "divergent barrier in block 0 of 1:\n.*thread");
  EXPECT_DEATH(std::ignore = Launch(ShuffleInABranch, 1, 64, nullptr),
               "not all threads reach.*\n.*in a shuffle at .*ShuffleInABranch");
  EXPECT_DEATH(std::ignore = Launch(ShuffleAndSync, 1, 32, nullptr), "divergent meeting of a warp.*\n");
  EXPECT_DEATH(std::ignore = Launch(ReadOutside, 1, 32, nullptr), "reads a lane that takes no part.*\n.*0x0000ffff");
  EXPECT_DEATH(std::ignore = Launch(WaitForOthers, 1, 32, nullptr), "leave itself out");
}

TEST_F(EmulatedGridDeathTest, AnOverflowOfTheStackStops) {
  int out = 0;
  EXPECT_DEATH(std::ignore = Launch(OverflowTheStack, 1, 32, nullptr, &out), "");
}

#if defined(__SANITIZE_THREAD__)
// Races that shuffled orders do not show: two threads of one block that write the same, and a warp that is met alone.
__global__ void WriteTheSame(int* out) {
  __shared__ int value;
  value = 5;
  __syncthreads();
  out[threadIdx.x] = value;
}
__global__ void MeetTheWarpAlone(int* out) {
  __shared__ int values[64];
  values[threadIdx.x] = static_cast<int>(threadIdx.x);
  __syncwarp();
  out[threadIdx.x] = values[threadIdx.x ^ 1] + values[threadIdx.x ^ 32];
}

template <typename Kernel>
void RunAndLeave(Kernel kernel) {
  std::vector<int> out(256);
  std::ignore = Launch(kernel, 1, 64, nullptr, out.data());
  std::exit(0);  // which ThreadSanitizer makes 66 when it has reported
}

TEST_F(EmulatedGridDeathTest, ThreadSanitizerSeesRaces) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(RunAndLeave(ReverseBlock<true>), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(RunAndLeave(ReverseBlock<false>), testing::ExitedWithCode(66), "data race.*\n(.*\n)*.*ReverseBlock");
  EXPECT_EXIT(RunAndLeave(WriteTheSame), testing::ExitedWithCode(66), "data race.*\n(.*\n)*.*WriteTheSame");
  EXPECT_EXIT(RunAndLeave(MeetTheWarpAlone), testing::ExitedWithCode(66), "data race.*\n(.*\n)*.*MeetTheWarpAlone");
}
#endif

}  // namespace
}  // namespace dropkit::cuda
