// In place of cuda.cc where there is no CUDA toolkit.
#include "cli/device/device.h"

namespace dropkit::cli {

Device* CudaDevice() { return nullptr; }

std::string WhyNoCudaDevice() { return "built without CUDA"; }

}  // namespace dropkit::cli
