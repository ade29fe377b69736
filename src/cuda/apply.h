// Apply on the device, as backend.h says: one launch, no scratch, no waiting. Fuses nothing; Drop's kernel is
// elsewhere.
#ifndef DROPKIT_SRC_CUDA_APPLY_H_
#define DROPKIT_SRC_CUDA_APPLY_H_

#include "dropkit/dropkit.h"

namespace dropkit::cuda {

Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_APPLY_H_
