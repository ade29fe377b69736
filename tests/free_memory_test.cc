// What cli/memory.cc makes of the system's files: the least of the machine's free memory and what each control group
// leaves. The files are a made-up root's; that the program keeps to the number is tests/test_limits.py's matter.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cli/memory.h"

namespace dropkit::cli {
namespace {

class FreeMemoryTest : public testing::Test {
 protected:
  FreeMemoryTest() {
    std::filesystem::remove_all(root_);
    Write("/proc/meminfo", "MemTotal: 9000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\nBuffers: 7 kB\n");
  }
  ~FreeMemoryTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  void Group(const std::string& folder, const std::string& limit, const std::string& used) const {
    Write(folder + "/memory.max", limit + "\n");
    Write(folder + "/memory.current", used + "\n");
  }
  std::optional<uint64_t> Free() const { return FreeMemory(root_); }

 private:
  const std::string root_ =
      testing::TempDir() + "free_memory_" + testing::UnitTest::GetInstance()->current_test_info()->name();
};

constexpr uint64_t kMachine = 4000 * 1024;

TEST_F(FreeMemoryTest, IsTheMachinesWithoutGroups) { EXPECT_EQ(Free(), kMachine); }

TEST_F(FreeMemoryTest, IsUnknownWithoutMeminfo) {
  Write("/proc/meminfo", "MemTotal: 9000 kB\n");
  EXPECT_EQ(Free(), std::nullopt);
}

TEST_F(FreeMemoryTest, Version2LimitsIt) {
  Write("/proc/self/cgroup", "0::/a/b\n");
  Group("/sys/fs/cgroup/a/b", "1000000", "300000");
  EXPECT_EQ(Free(), 700000u);
  Write("/sys/fs/cgroup/a/b/memory.stat", "anon 100000\ninactive_file 150000\nactive_file 50000\n");
  EXPECT_EQ(Free(), 850000u);
  Group("/sys/fs/cgroup/a/b", "max", "300000");
  EXPECT_EQ(Free(), kMachine);
}

TEST_F(FreeMemoryTest, GroupsAboveLimitItToo) {
  Write("/proc/self/cgroup", "0::/a/b\n");
  Group("/sys/fs/cgroup/a/b", "1000000", "300000");
  Group("/sys/fs/cgroup/a", "900000", "500000");
  EXPECT_EQ(Free(), 400000u);
  Group("/sys/fs/cgroup", "900000", "800000");
  EXPECT_EQ(Free(), 100000u);
}

TEST_F(FreeMemoryTest, AContainersGroupIsAtTheMount) {
  Write("/proc/self/cgroup", "0::/host/name/of/it\n");
  Group("/sys/fs/cgroup", "900000", "200000");
  EXPECT_EQ(Free(), 700000u);
}

TEST_F(FreeMemoryTest, MoreUsedThanAllowedLeavesNothing) {
  Write("/proc/self/cgroup", "0::/\n");
  Group("/sys/fs/cgroup", "200000", "900000");
  EXPECT_EQ(Free(), 0u);
}

TEST_F(FreeMemoryTest, Version1LimitsIt) {
  Write("/proc/self/cgroup", "9:name=systemd:/\n4:hugetlb,memory:/job\n1:cpu:/\n0::/\n");
  const std::string group = "/sys/fs/cgroup/memory/job/";
  Write(group + "memory.limit_in_bytes", "1000000\n");
  Write(group + "memory.usage_in_bytes", "600000\n");
  Write(group + "memory.stat", "inactive_file 1\ntotal_inactive_file 100000\n");
  EXPECT_EQ(Free(), 500000u);
  Write(group + "memory.limit_in_bytes", "9223372036854771712\n");  // how version 1 says that there is none
  EXPECT_EQ(Free(), kMachine);
}

}  // namespace
}  // namespace dropkit::cli
