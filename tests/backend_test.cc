// What is asked of a backend's Exec, with rows that no build has: which scratch suffices, on host and device memory.
#include "backend.h"

#include <gtest/gtest.h>

#include <string>

namespace dropkit {
namespace {

constexpr size_t kNeeded = 192;

std::string Refusal(bool host_memory, void* scratch, size_t bytes, size_t needed = kNeeded) {
  Backend backend{};
  backend.name = "quantum";
  backend.host_memory = host_memory;
  Exec exec;
  exec.scratch = scratch;
  exec.scratch_bytes = bytes;
  const Status status = ValidateScratch(backend, needed, exec);
  EXPECT_TRUE(status.ok() || status.code() == Status::Code::kInvalid);
  return status.message();
}

TEST(Backend, ScratchIsOfTheBackendsMemory) {
  EXPECT_EQ(Refusal(false, nullptr, 0),
            "exec.scratch = null; allowed for backend quantum: 192 bytes of device memory (ScratchBytes)");
  EXPECT_EQ(Refusal(true, nullptr, kNeeded),
            "exec.scratch = null; allowed for backend quantum: 192 bytes of memory (ScratchBytes)");
  EXPECT_EQ(Refusal(false, nullptr, 0, 0), "");
}

TEST(Backend, ScratchSufficesAndIsAligned) {
  alignas(64) char scratch[kNeeded + 64];
  for (const bool host_memory : {true, false}) {
    EXPECT_EQ(Refusal(host_memory, scratch, kNeeded - 1),
              "exec.scratch_bytes = 191; allowed: at least 192 (ScratchBytes)");
    EXPECT_EQ(Refusal(host_memory, scratch + 32, kNeeded),
              "exec.scratch is not aligned; allowed: an address that 64 divides");
    EXPECT_EQ(Refusal(host_memory, scratch, kNeeded), "");
    EXPECT_EQ(Refusal(host_memory, scratch + 64, kNeeded + 1), "");
  }
}

}  // namespace
}  // namespace dropkit
