// Linux: /proc and RLIMIT_DATA, which counts what is written to and not the address space that libraries reserve.

#include "cli/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace dropkit::cli {
namespace {

// Bytes of this program that RLIMIT_DATA already counts.
uint64_t DataMemory() {
  std::ifstream file("/proc/self/statm");
  uint64_t pages = 0;
  for (int field = 0; field < 6; ++field) file >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

std::optional<uint64_t> FreeMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string name; file >> name; file.ignore(std::numeric_limits<std::streamsize>::max(), '\n')) {
    uint64_t kilobytes = 0;
    if (name == "MemAvailable:" && file >> kilobytes) return kilobytes * 1024;
  }
  return std::nullopt;
}

void LimitMemory() {
  const std::optional<uint64_t> free = FreeMemory();
  rlimit limit;
  if (!free || getrlimit(RLIMIT_DATA, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_cur, DataMemory() + *free);
  setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace dropkit::cli
