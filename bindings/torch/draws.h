// What several operators share: torch's threads, operands by their names, and a draw that is applied.
//
// Assumes LibTorch's stable ABI alone. Which operators exist is in ops.cc and packed.cc; tensors as views are
// views.h's.
#ifndef DROPKIT_BINDINGS_TORCH_DRAWS_H_
#define DROPKIT_BINDINGS_TORCH_DRAWS_H_

#include <optional>

#include "views.h"

// The operands of every draw, as schemas have them.
#define DROPKIT_DRAWS "str spec, Tensor key, float p, Tensor? p_device=None, int first_sample=0"

namespace dropkit::torch_ops {

using OptionalTensor = std::optional<Tensor>;

// torch's own threads, so that torch.set_num_threads holds here too.
Exec TorchExec();

inline Layout LayoutFrom(bool channels_last) { return channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst; }
Key KeyOf(const Tensor& key, const Tensor& x);
Probability ProbabilityOf(double p, const OptionalTensor& p_device, const Tensor& x);

// A dense view of x's sizes at `data`.
View DenseViewOf(const Tensor& x, Layout layout, void* data, const Spec& spec, int64_t first_sample);
// x, or a contiguous copy where its dimensions could not be joined.
Tensor Viewable(const Tensor& x, const Spec& spec);

// Draws `mask`, whose pointers are set, and writes y, a tensor of x's sizes that may be x.
void DropWith(const Tensor& x, const Tensor& y, Layout layout, const Spec& spec, const Tensor& key, Probability p,
              int64_t first_sample, Mask* mask);

}  // namespace dropkit::torch_ops

#endif  // DROPKIT_BINDINGS_TORCH_DRAWS_H_
