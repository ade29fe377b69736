// Linux: /proc, control groups of both versions, and RLIMIT_DATA, which counts what is written to and not the address
// space that libraries reserve.

#include "cli/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>

namespace dropkit::cli {
namespace {

// Where a version of control groups has its numbers.
struct GroupFiles {
  const char *mount, *limit, *used, *cached;  // cached: the word in memory.stat for pages that can be given back
};

constexpr GroupFiles kVersion1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                  "total_inactive_file"};
constexpr GroupFiles kVersion2 = {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"};

// Bytes of this program that RLIMIT_DATA already counts.
uint64_t DataMemory() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0;
  for (int field = 0; field < 6; ++field) file >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// The number behind a word at the start of a line.
std::optional<uint64_t> NumberOf(const std::string& path, const std::string& word) {
  std::ifstream file(path);
  uint64_t number = 0;
  for (std::string name; file >> name; file.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    if (name == word && file >> number) return number;
  }
  return std::nullopt;
}

// Nothing where there is no such file, or it says "max".
std::optional<uint64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  uint64_t number = 0;
  if (file >> number) return number;
  return std::nullopt;
}

// What one group leaves, where it has a limit.
uint64_t FreeInGroup(const std::string& folder, const GroupFiles& files) {
  const std::optional<uint64_t> limit = NumberIn(folder + "/" + files.limit),
                                used = NumberIn(folder + "/" + files.used);
  if (!limit || !used) return std::numeric_limits<uint64_t>::max();
  const uint64_t cached = std::min(*used, NumberOf(folder + "/memory.stat", files.cached).value_or(0));
  return *limit - std::min(*limit, *used - cached);
}

// The least that a group and those above it leave. A container often sees its own group at the mount itself, and a
// name that its host knows; folders that are not there limit nothing.
uint64_t FreeUpwards(const std::string& mount, std::string name, const GroupFiles& files) {
  uint64_t free = FreeInGroup(mount, files);
  for (; name.size() > 1; name.resize(name.rfind('/'))) free = std::min(free, FreeInGroup(mount + name, files));
  return free;
}

// Lines of /proc/self/cgroup are NUMBER:CONTROLLERS:/NAME; version 2 has no controllers.
uint64_t FreeInGroups(const std::string& root) {
  uint64_t free = std::numeric_limits<uint64_t>::max();
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(":/", first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool memory = controllers.find(",memory,") != std::string::npos;
    if (!memory && controllers != ",,") continue;
    const GroupFiles& files = memory ? kVersion1 : kVersion2;
    free = std::min(free, FreeUpwards(root + files.mount, line.substr(second + 1), files));
  }
  return free;
}

}  // namespace

std::optional<uint64_t> FreeMemory(const std::string& root) {
  const std::optional<uint64_t> kilobytes = NumberOf(root + "/proc/meminfo", "MemAvailable:");
  if (!kilobytes) return std::nullopt;
  return std::min(*kilobytes * 1024, FreeInGroups(root));
}

void LimitMemory() {
  const std::optional<uint64_t> free = FreeMemory();
  rlimit limit;
  if (!free || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_cur, DataMemory() + *free);
  setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace dropkit::cli
