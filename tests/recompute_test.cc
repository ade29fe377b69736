// recompute=true of dropkit::nn: the gradients of stored bits, to the bit and to the third order, from a saved key.
//
// Assumes that stored bits are right, which nn_test.cc holds against the core.
#include <ATen/Functions.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn/modules/container/any.h>
#include <torch/utils.h>

#include <sstream>

#include "dropkit/nn.h"

namespace dropkit::nn {
namespace {

using torch::Tensor;
namespace F = functional;

Tensor SomeKey(int64_t seed) { return torch::tensor({seed, int64_t{77}}, torch::kInt64); }

// y, dx, the gradient of dx's own gradient, and a third.
std::vector<Tensor> ValueAndGradients(const Tensor& input, const Tensor& grad, const std::string& line,
                                      int64_t first_sample, bool recompute) {
  const Tensor x = input.detach().requires_grad_(), v = grad.detach().requires_grad_();
  const double p = line[0] == 'c' ? 0.9 : 0.35;
  const Tensor y = F::drop(x * x, line, p, SomeKey(12), true, first_sample, recompute);
  const Tensor dx = torch::autograd::grad({y}, {x}, {v}, true, /*create_graph=*/true)[0];
  const auto second = torch::autograd::grad({dx}, {x, v}, {torch::ones_like(dx)}, true, true);
  const Tensor third = torch::autograd::grad({second[1]}, {x}, {torch::ones_like(dx)})[0];
  return {y, dx, second[0], second[1], third};
}

TEST(RecomputeTest, GradientsAreThoseOfStoredBits) {
  const std::vector<std::string> lines = {
      "dropblock:block=3",
      "dropblock:block=3,region=whole,normalize=expected,share=channels",
      "dropblock:block=2,rate=calibrated,over=sample,share=batch",
      "dropout",
      "dropout:normalize=kept,over=plane,fill=-1.5",
      "dropout:fill=noise,share=all,normalize=none",
      "spatial_dropout:normalize=kept,over=sample",
      "drop_path:normalize=asked",
      "cutout:size=4,holes=2",
      "drop_connect",
      "drop_connect:share=none,normalize=kept,over=plane",
  };
  const Tensor wide = torch::randn({4, 6, 9, 20}), scalar = torch::randn({});
  for (const std::string& line : lines) {
    for (const auto dtype : {torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kDouble}) {
      const Tensor x = torch::randn({4, 6, 9, 10}).to(dtype);
      const Tensor last = x.contiguous(torch::MemoryFormat::ChannelsLast);
      for (const Tensor& input : {x, last, wide.slice(3, 0, 20, 2).to(dtype)}) {
        for (const Tensor& grad : {x, last, scalar.to(dtype).expand({4, 6, 9, 10})}) {
          SCOPED_TRACE(line + " " + c10::toString(dtype) + c10::str(input.strides(), grad.strides()));
          const auto stored = ValueAndGradients(input, grad, line, 3, false);
          const auto recomputed = ValueAndGradients(input, grad, line, 3, true);
          for (size_t i = 0; i < stored.size(); ++i) {
            EXPECT_TRUE(torch::equal(stored[i], recomputed[i])) << i;
            EXPECT_EQ(stored[i].strides(), recomputed[i].strides()) << i;
          }
          EXPECT_FALSE(torch::equal(stored[1], recomputed[0]));
        }
      }
    }
  }
}

TEST(RecomputeTest, ModulesDoItToo) {
  const std::vector<torch::nn::AnyModule> modules = {torch::nn::AnyModule(DropBlock2d(0.2, 3)),
                                                     torch::nn::AnyModule(FromSpec("dropout:normalize=kept@0.3")),
                                                     torch::nn::AnyModule(DropConnectLinear(10, 4)),
                                                     torch::nn::AnyModule(DropConnectLinear(10, 4, 0.5, "share=none"))};
  for (torch::nn::AnyModule module : modules) {
    auto* layer = dynamic_cast<Layer*>(module.ptr().get());
    SCOPED_TRACE(layer->spec());
    EXPECT_FALSE(layer->recompute());
    const Tensor x = torch::randn({4, 6, 9, 10}).requires_grad_();
    const double p = layer->p();
    std::vector<Tensor> gradients;
    for (const bool recompute : {false, true}) {
      layer->set_recompute(recompute);
      torch::manual_seed(5);
      const Tensor y = module.forward(x);
      layer->set_p(p / 2);  // what is set after the forward pass changes no gradient
      layer->set_recompute(!recompute);
      gradients.push_back(torch::autograd::grad({y.square().sum()}, {x})[0]);
      layer->set_p(p);
    }
    EXPECT_TRUE(torch::equal(gradients[0], gradients[1]));
    layer->set_recompute(true);
    EXPECT_TRUE(dynamic_cast<Layer*>(module.ptr()->clone().get())->recompute());
  }
  std::ostringstream text;
  DropPath path(0.1);
  path->set_recompute(true);
  EXPECT_NE((text << path, text.str()).find("p=0.1, recompute"), std::string::npos) << text.str();
}

TEST(RecomputeTest, KeyIsSavedByValue) {
  const Tensor x = torch::randn({4, 6, 9, 10}).requires_grad_();
  Tensor keys = torch::randint(1000, {50, 2}, torch::kInt64);
  const Tensor y = F::drop(x, "dropout", 0.5, keys[7], true, 0, /*recompute=*/true);
  const Tensor dropped = F::drop(torch::ones_like(x), "dropout", 0.5, keys[7]);
  keys.zero_();
  y.sum().backward();
  EXPECT_TRUE(torch::equal(x.grad(), dropped));
}

// Bytes of the tensors that live, of those made while it is in place.
struct TensorBytes : c10::MemoryReportingInfoBase {
  void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override { live += bytes; }
  bool memoryProfilingEnabled() const override { return true; }
  int64_t live = 0;
};

TEST(RecomputeTest, AGraphOfManyLayersHoldsTheirKeysAlone) {
  constexpr int64_t kLayers = 64;
  const Tensor x = torch::randn({8, 16, 14, 14}).requires_grad_();
  const auto held = [&](const std::string& line, bool recompute) {
    const auto bytes = std::make_shared<TensorBytes>();
    const c10::DebugInfoGuard guard(c10::DebugInfoKind::PROFILER_STATE, bytes);
    Drop drop(line, 0.1);
    drop->set_recompute(recompute);
    Tensor y = x;
    for (int64_t i = 0; i < kLayers; ++i) y = drop(y);
    const int64_t beyond_y = bytes->live - y.numel() * 4;
    y.sum().backward();
    return beyond_y;
  };
  for (const std::string line : {"dropblock:block=7", "dropout:over=plane", "spatial_dropout"}) {
    SCOPED_TRACE(line);
    const int64_t stored = held(line, false), recomputed = held(line, true);
    EXPECT_GE(stored, kLayers * (8 * 16 / 8 + 8 * 8));
    EXPECT_GT(recomputed, 0);
    EXPECT_LE(recomputed, kLayers * 64);
  }
}

}  // namespace
}  // namespace dropkit::nn
