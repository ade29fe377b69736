// See draws.h.
#include "draws.h"

#include <torch/csrc/stable/ops.h>

namespace dropkit::torch_ops {

using torch::headeronly::ScalarType;

Exec TorchExec() {
  Exec exec;
  exec.fresh_output = true;  // of every operator that does not write in place
  exec.parallel_for.max_threads = static_cast<int>(torch::stable::get_num_threads());
  exec.parallel_for.run = [](void*, int64_t count, void (*task)(void*, int64_t), void* argument) {
    torch::stable::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) task(argument, i);
    });
  };
  return exec;
}

Key KeyOf(const Tensor& key, const Tensor& x) {
  return static_cast<const uint64_t*>(Operand("key", key, x, ScalarType::Long, 2));
}

Probability ProbabilityOf(double p, const OptionalTensor& p_device, const Tensor& x) {
  if (!p_device) return Probability(static_cast<float>(p));
  return Probability(static_cast<const float*>(Operand("p_device", *p_device, x, ScalarType::Float, 1)));
}

View DenseViewOf(const Tensor& x, Layout layout, void* data, const Spec& spec, int64_t first_sample) {
  return ViewOf(x, DenseStrides(x, layout), data, spec, first_sample);
}

Tensor Viewable(const Tensor& x, const Spec& spec) { return Joinable(x, spec) ? x : torch::stable::contiguous(x); }

void DropWith(const Tensor& x, const Tensor& y, Layout layout, const Spec& spec, const Tensor& key, Probability p,
              int64_t first_sample, Mask* mask) {
  const Exec exec = TorchExec();
  const View from = ViewOf(x, spec, first_sample), to = ViewOf(y, spec, first_sample);
  if (HasStrides(x, DenseStrides(x, layout))) {
    Check(Drop(spec, p, KeyOf(key, x), Pass::kForward, from, to, exec, mask));
  } else {  // the mask is in y's order, which Drop would take from x
    Check(Sample(spec, p, KeyOf(key, x), DenseViewOf(x, layout, from.data, spec, first_sample), exec, mask));
    Check(Apply(*mask, Pass::kForward, from, to, exec));
  }
}

}  // namespace dropkit::torch_ops
