// The devices that the program knows, by backend.
#include "cli/check/target.h"

namespace dropkit::check {

bool MakeTarget(const BackendInfo& info, Target* target) {
  if (!info.available) return false;
  *target = Target{.backend = info.name};
  if (info.host_memory) return true;
  target->device = info.name == "cuda" ? cli::CudaDevice() : nullptr;
  return target->device != nullptr;
}

}  // namespace dropkit::check
