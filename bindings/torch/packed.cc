// Operators of the Python package for plain eager calls: drop and its gradient with the least of torch around them.
//
// Assumes that drop and apply (ops.cc) are registered; these do the same work. A mask is one tensor here, and nothing
// registers a gradient for them: python/dropkit/torch/paths.py has the autograd functions.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <string_view>
#include <tuple>

#include "draws.h"

namespace dropkit::torch_ops {
namespace {

using torch::headeronly::ScalarType;

// bits and counts in one int64 tensor, which costs one allocation and one saved tensor less: {T, kept...} padded to
// whole cache lines, then the words. over=tensor has one count, the sum over samples: nothing in it depends on the
// batch. Nobody reads what pads the counts: it is 0 on the CPU, and on a device as it comes.
struct Packed {
  static constexpr int64_t kLine = 8;  // words
  Mask mask;
  int64_t header = 0;
  explicit Packed(const Spec& spec, const View& dense) {
    mask.one_count = true;
    Check(Describe(spec, dense, &mask));
    header = (1 + mask.num_kept + kLine - 1) / kLine * kLine;
  }
  int64_t length() const { return header + mask.num_words(); }
  void Point(void* data) {
    auto* words = static_cast<int64_t*>(data);
    PointMask(words + header, words, &mask);
  }
};

Tensor DropIntoPacked(const Draw& draw, const Tensor& x, const Tensor& y, Layout layout, OnDevice* device) {
  Packed packed(draw.spec, DenseViewOf(x, layout, draw.spec, draw.first_sample));
  Tensor words = EmptyInt64(x, packed.length());
  packed.Point(words.data_ptr());
  if (x.is_cpu()) std::fill_n(static_cast<int64_t*>(words.data_ptr()), packed.header, int64_t{0});
  DropWith(draw, x, y, layout, device, &packed.mask);
  return words;
}

std::tuple<Tensor, Tensor> DropPackedOp(const Tensor& x, std::string_view line, const Tensor& key, double p,
                                        const OptionalTensor& p_device, int64_t first_sample) {
  OnDevice device(x);
  const Draw draw(x, line, key, p, p_device, first_sample);
  const Layout layout = LayoutOf(x);
  const Tensor y = EmptyLike(x, layout);
  return {y, DropIntoPacked(draw, Viewable(x, draw.spec), y, layout, &device)};
}

Tensor DropPackedInPlaceOp(Tensor x, std::string_view line, const Tensor& key, double p, const OptionalTensor& p_device,
                           int64_t first_sample, bool channels_last) {
  OnDevice device(x);
  const Draw draw(x, line, key, p, p_device, first_sample);
  const Tensor y = Viewable(x, draw.spec);
  Tensor words = DropIntoPacked(draw, y, y, LayoutFrom(channels_last), &device);
  CopyBack(y, x);
  return words;
}

Tensor GradientOp(const Tensor& grad, const Tensor& words, std::string_view line, bool channels_last) {
  OnDevice device(grad);
  const Spec spec = SpecOf(line);
  const Tensor dx = EmptyLike(grad, LayoutFrom(channels_last));
  const Tensor viewable = Viewable(grad, spec);
  Packed packed(spec, DenseViewOf(grad, LayoutFrom(channels_last), spec, 0));
  packed.Point(Operand("mask", words, grad, ScalarType::Long, packed.length()));
  const View from = ViewOf(viewable, spec, 0);
  Check(Apply(packed.mask, Pass::kBackward, from, ViewOf(dx, spec, 0), device.ExecFor(spec, from)));
  return dx;
}

Tensor DropForgettingOp(const Tensor& x, std::string_view line, const Tensor& key, double p,
                        const OptionalTensor& p_device, int64_t first_sample) {
  return std::get<0>(DropPackedOp(x, line, key, p, p_device, first_sample));
}

STABLE_TORCH_LIBRARY_FRAGMENT(dropkit, m) {
  m.def("drop_recompute(Tensor x, " DROPKIT_DRAWS ") -> Tensor");
  m.def("_drop(Tensor x, " DROPKIT_DRAWS ") -> (Tensor y, Tensor mask)");
  m.def("_drop_(Tensor(a!) x, " DROPKIT_DRAWS ", bool channels_last=False) -> Tensor");
  m.def("_gradient(Tensor grad, Tensor mask, str spec, bool channels_last) -> Tensor");
}

void Implement(auto& m) {
  m.impl("drop_recompute", TORCH_BOX(&DropForgettingOp));
  m.impl("_drop", TORCH_BOX(&DropPackedOp));
  m.impl("_drop_", TORCH_BOX(&DropPackedInPlaceOp));
  m.impl("_gradient", TORCH_BOX(&GradientOp));
}

STABLE_TORCH_LIBRARY_IMPL(dropkit, CPU, m) { Implement(m); }
STABLE_TORCH_LIBRARY_IMPL(dropkit, CUDA, m) { Implement(m); }

}  // namespace
}  // namespace dropkit::torch_ops
