// The list of backends on host memory.
#include "cli/check/target.h"

namespace dropkit::check {

bool RunsOnHostMemory(const std::string& backend) {
  for (const char* known : {"cpu", "avx2", "avx512", "avx512_bf16", "neon", "reference"}) {
    if (backend == known) return true;
  }
  return false;
}

}  // namespace dropkit::check
