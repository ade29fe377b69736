// What several operators share: what a draw takes, a mask in memory of torch's, and a draw that is applied.
//
// Assumes LibTorch's stable ABI alone. Which operators exist is in ops.cc and packed.cc; tensors as views are
// views.h's, where a call runs is device.h's.
#ifndef DROPKIT_BINDINGS_TORCH_DRAWS_H_
#define DROPKIT_BINDINGS_TORCH_DRAWS_H_

#include <optional>

#include "device.h"
#include "views.h"

// The operands of every draw, as schemas have them.
#define DROPKIT_DRAWS "str spec, Tensor key, float p, Tensor? p_device=None, int first_sample=0"

namespace dropkit::torch_ops {

using OptionalTensor = std::optional<Tensor>;

inline Layout LayoutFrom(bool channels_last) { return channels_last ? Layout::kChannelsLast : Layout::kChannelsFirst; }
Key KeyOf(const Tensor& key, const Tensor& x);

// DROPKIT_DRAWS with its operands' memory, which is on x's device.
struct Draw {
  Draw(const Tensor& x, std::string_view line, const Tensor& key, double p, const OptionalTensor& p_device,
       int64_t first_sample);
  Spec spec;
  Key key;
  Probability p;
  int64_t first_sample;
};

// A dense view of x's sizes, with x's own data.
View DenseViewOf(const Tensor& x, Layout layout, const Spec& spec, int64_t first_sample);
// x, or a contiguous copy where its dimensions could not be joined.
Tensor Viewable(const Tensor& x, const Spec& spec);
// What was written into Viewable(x, spec), into x.
void CopyBack(const Tensor& viewable, Tensor x);

// Points a mask at its words, and at T followed by what was counted.
void PointMask(void* bits, void* counts, Mask* mask);

// Draws `mask`, whose pointers are set, and writes y, a tensor of x's sizes that may be x.
void DropWith(const Draw& draw, const Tensor& x, const Tensor& y, Layout layout, OnDevice* device, Mask* mask);

}  // namespace dropkit::torch_ops

#endif  // DROPKIT_BINDINGS_TORCH_DRAWS_H_
