// The `cuda` backend's verbs, as backend.h has them. Each launches on exec.stream and returns at once.
#ifndef DROPKIT_SRC_CUDA_CUDA_H_
#define DROPKIT_SRC_CUDA_CUDA_H_

#include "dropkit/dropkit.h"

namespace dropkit::cuda {

// Of the workspace, whatever the verb: for counts that several blocks add up (count.h).
size_t WorkspaceBytes(const Spec& spec, const View& x);

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask);
Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask);
Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask);
Status FinishEmpty(Probability p, const Mask& mask, const Exec& exec);
// That x and y lie at multiples of their elements' size, as no other access works on a card.
Status ValidateAlignment(const View& x, const View& y);
Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec);
// Sample and Apply in one launch where no gain waits for a count; else two.
Status Drop(const Spec& spec, Probability p, Key key, Pass pass, const View& x, const View& y, const Exec& exec,
            Mask* mask);

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_CUDA_H_
