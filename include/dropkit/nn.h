// dropkit::nn: the methods of dropkit as LibTorch modules, with autograd.
//
//   dropkit::nn::DropBlock2d drop(0.1, 7);                       // p, block; further keys of a spec line as a string
//   dropkit::nn::DropBlock2d tuned(0.1, 7, "rate=calibrated,share=channels");
//   dropkit::nn::Drop any = dropkit::nn::FromSpec("dropblock:block=7@0.1");
//   dropkit::nn::LinearSchedule schedule(*net, 1000);            // p of every dropkit layer in net: 0 to its target
//
// Assumes LibTorch 2.10 or later; x is float32, float16, bfloat16 or float64, of any strides, N first, then C. What to
// drop is a spec line throughout (dropkit.h): only p and the one number that everyone names are arguments of their own.
// The work is done by the operators dropkit::drop and dropkit::apply (bindings/torch/ops.cc); docs/libtorch.md is the
// manual.
#ifndef DROPKIT_NN_H_
#define DROPKIT_NN_H_

#include <ATen/core/ivalue.h>
#include <torch/expanding_array.h>
#include <torch/nn/cloneable.h>
#include <torch/nn/pimpl.h>
#include <torch/serialize/archive.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::nn {

namespace functional {

// ---------------------------------------------------------------- Functions

// A key on `device`, int64[2] {seed, offset}: torch::randint from torch's default generator of that device, the one
// that torch::manual_seed sets. One call a key, so a program that draws in the same order gets the same masks.
torch::Tensor new_key(torch::Device device = torch::kCPU);

// x with what `spec` says dropped, differentiable any number of times; saves 1 bit an element, and no x, for the
// backward pass. `recompute` saves the key, p and first_sample instead (by value, 16 bytes of tensors), and each
// backward pass draws the mask again: the same gradient bit for bit. Without `key` one is drawn by
// new_key(x.device()). Not training, or p == 0, returns x itself, and then draws no key. `first_sample` is the index of
// x's first sample in the global batch. Throws c10::Error.
torch::Tensor drop(const torch::Tensor& x, std::string_view spec, double p,
                   const std::optional<torch::Tensor>& key = std::nullopt, bool training = true,
                   int64_t first_sample = 0, bool recompute = false);

// A linear map of x[N, ..., in] whose weight[out, in] passes through drop_connect:KEYS first. share=batch (the default)
// draws one mask for all samples; share=none one for each sample, and holds N weights. The bias, which may be
// undefined, is not dropped.
torch::Tensor drop_connect(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias, double p,
                           std::string_view keys = "", const std::optional<torch::Tensor>& key = std::nullopt,
                           bool training = true, int64_t first_sample = 0, bool recompute = false);

}  // namespace functional

// ---------------------------------------------------------------- Modules

// What every dropkit module has: a spec, p, whether it is active at inference and whether it stores its masks. Not a
// torch module itself; schedules and tools reach any layer through it (std::dynamic_pointer_cast<Layer>(module)).
class Layer {
 public:
  virtual ~Layer() = default;
  double p() const { return p_; }
  void set_p(double p);            // within [0, 1]
  bool mc() const { return mc_; }  // Monte Carlo dropout: active at inference too
  void set_mc(bool mc) { mc_ = mc; }
  bool recompute() const { return recompute_; }  // the backward pass draws the mask again: see functional::drop
  void set_recompute(bool recompute) { recompute_ = recompute; }
  const std::string& spec() const { return line_.toStringRef(); }  // the full spec line

 protected:
  // `name` is for messages. `dims` is the one number of dimensions that x may have, 0 for whatever the spec takes.
  Layer(const char* name, const std::string& line, double p, int dims);
  bool Active(bool training) const { return p_ > 0 && (training || mc_); }
  torch::Tensor Run(const torch::Tensor& x, bool training) const;
  void Print(std::ostream& stream) const;
  // p and the full spec line as attributes of a module's archive, never parameters or buffers. An archive without them
  // changes nothing; one with another method is an error.
  void Write(torch::serialize::OutputArchive& archive) const;
  void Read(torch::serialize::InputArchive& archive);

  Spec spec_;
  c10::IValue line_;  // a string that what is saved for the backward pass shares

 private:
  const char* name_;
  double p_;
  int dims_;
  bool mc_ = false, recompute_ = false;
};

// The torch side of a Layer that has no parameters. Derived gives the constructor only.
template <class Derived>
class DropModule : public torch::nn::Cloneable<Derived>, public Layer {
 public:
  // In eval mode (unless mc), or when p is 0: x itself.
  torch::Tensor forward(const torch::Tensor& x) { return Run(x, this->is_training()); }
  void reset() override {}
  void pretty_print(std::ostream& stream) const override { Print(stream); }
  void save(torch::serialize::OutputArchive& archive) const override {
    torch::nn::Module::save(archive);
    Write(archive);
  }
  void load(torch::serialize::InputArchive& archive) override {
    torch::nn::Module::load(archive);
    Read(archive);
  }

 protected:
  using Layer::Layer;
};

// "METHOD:FIRST,KEYS" with either part left out when it is empty.
std::string JoinSpec(std::string_view method, std::string_view first, std::string_view keys);
// "block=7", or "block=3x5" when the numbers differ.
std::string SizeKey(std::string_view key, torch::IntArrayRef numbers);

// Any method on activations, by its spec line. A Drop of drop_connect is an error: use DropConnectLinear.
class DropImpl : public DropModule<DropImpl> {
 public:
  DropImpl(std::string_view spec, double p);
};
TORCH_MODULE(Drop);

// Drop(SPEC, P) of a case line, SPEC[@P]; without @P, p is the method's or preset's default.
Drop FromSpec(std::string_view case_line);

// Drops blocks of `block_size` (a number, or one per axis in axis order) from each feature map: x[N, C, L].
class DropBlock1dImpl : public DropModule<DropBlock1dImpl> {
 public:
  explicit DropBlock1dImpl(double p = 0.1, torch::ExpandingArray<1> block_size = 7, std::string_view keys = "")
      : DropModule("DropBlock1d", JoinSpec("dropblock", SizeKey("block", block_size), keys), p, 3) {}
};
TORCH_MODULE(DropBlock1d);

// x[N, C, H, W].
class DropBlock2dImpl : public DropModule<DropBlock2dImpl> {
 public:
  explicit DropBlock2dImpl(double p = 0.1, torch::ExpandingArray<2> block_size = 7, std::string_view keys = "")
      : DropModule("DropBlock2d", JoinSpec("dropblock", SizeKey("block", block_size), keys), p, 4) {}
};
TORCH_MODULE(DropBlock2d);

// x[N, C, D, H, W].
class DropBlock3dImpl : public DropModule<DropBlock3dImpl> {
 public:
  explicit DropBlock3dImpl(double p = 0.1, torch::ExpandingArray<3> block_size = 7, std::string_view keys = "")
      : DropModule("DropBlock3d", JoinSpec("dropblock", SizeKey("block", block_size), keys), p, 5) {}
};
TORCH_MODULE(DropBlock3d);

// Drops elements; x of any shape.
class DropoutImpl : public DropModule<DropoutImpl> {
 public:
  explicit DropoutImpl(double p = 0.5, std::string_view keys = "")
      : DropModule("Dropout", JoinSpec("dropout", "", keys), p, 0) {}
};
TORCH_MODULE(Dropout);

// Drops channels; x[N, C, ...].
class SpatialDropoutImpl : public DropModule<SpatialDropoutImpl> {
 public:
  explicit SpatialDropoutImpl(double p = 0.5, std::string_view keys = "")
      : DropModule("SpatialDropout", JoinSpec("spatial_dropout", "", keys), p, 0) {}
};
TORCH_MODULE(SpatialDropout);

// Drops samples (stochastic depth: put it on the residual branch); x[N, ...].
class DropPathImpl : public DropModule<DropPathImpl> {
 public:
  explicit DropPathImpl(double p = 0.1, std::string_view keys = "")
      : DropModule("DropPath", JoinSpec("drop_path", "", keys), p, 0) {}
};
TORCH_MODULE(DropPath);

// Cuts squares of `size` from each sample, in all channels; p is the probability that a square is cut.
class CutoutImpl : public DropModule<CutoutImpl> {
 public:
  explicit CutoutImpl(int64_t size = 16, double p = 1.0, std::string_view keys = "")
      : DropModule("Cutout", JoinSpec("cutout", SizeKey("size", size), keys), p, 0) {}
};
TORCH_MODULE(Cutout);

// torch::nn::Linear (the same parameters, names and initial values) with functional::drop_connect of its weight.
class DropConnectLinearImpl : public torch::nn::Cloneable<DropConnectLinearImpl>, public Layer {
 public:
  DropConnectLinearImpl(int64_t in_features, int64_t out_features, double p = 0.5, std::string_view keys = "",
                        bool with_bias = true);
  torch::Tensor forward(const torch::Tensor& x);
  void reset() override;    // registers the parameters anew
  void reset_parameters();  // as torch::nn::Linear's
  void pretty_print(std::ostream& stream) const override;
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

  torch::Tensor weight, bias;  // bias is undefined without one

 private:
  int64_t in_features_, out_features_;
  bool with_bias_;
};
TORCH_MODULE(DropConnectLinear);

// ---------------------------------------------------------------- Schedule

// Raises p linearly: after k calls of step(), a layer whose p was `target` at construction has
// p = start + (target - start) * min(k / steps, 1). Construction is k = 0: it sets p to `start`.
class LinearSchedule {
 public:
  // Every dropkit layer below `root` (not root itself, which need not be on the heap), each once.
  LinearSchedule(torch::nn::Module& root, int64_t steps, double start = 0.0);
  // These layers, such as {block.ptr(), path.ptr()}.
  LinearSchedule(std::vector<std::shared_ptr<Layer>> layers, int64_t steps, double start = 0.0);

  void step();
  int64_t count() const { return count_; }  // calls of step() so far
  const std::vector<std::shared_ptr<Layer>>& layers() const { return layers_; }

  // steps, start, k, and every layer's target and p, in the order of layers(); load sets them all. A state of another
  // number of layers is an error, and then nothing has changed.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

 private:
  void Set();

  std::vector<std::shared_ptr<Layer>> layers_;
  std::vector<double> targets_;
  int64_t steps_;
  double start_;
  int64_t count_ = 0;
};
// For torch::save(schedule, path) and torch::load(schedule, path).
torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive, const LinearSchedule& schedule);
// Reads what operator<< wrote.
torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive, LinearSchedule& schedule);

}  // namespace dropkit::nn

#endif  // DROPKIT_NN_H_
