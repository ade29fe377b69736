// dropkit::nn against masks that the core draws with the same key: values, gradients, modes, archives, errors.
//
// The expected tensors come from Sample, Unpack and GainOf and from torch's own arithmetic, never from the operators.
// One file, because each that includes torch/torch.h costs half a minute.
#include "dropkit/nn.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <sstream>

namespace dropkit::nn {
namespace {

using torch::Tensor;
namespace F = functional;

DType CoreDType(torch::ScalarType dtype) {
  switch (dtype) {
    case torch::kHalf:
      return DType::kF16;
    case torch::kBFloat16:
      return DType::kBF16;
    case torch::kDouble:
      return DType::kF64;
    default:
      return DType::kF32;
  }
}

// What the core says about a tensor of these sizes, read as N, C and the map.
struct Expected {
  Tensor keep;      // bool, of x's shape
  double gain = 0;  // of kept elements (over=tensor)
  double fill = 0;
  Tensor Forward(const Tensor& x) const { return torch::where(keep, Scaled(x), torch::full_like(x, fill)); }
  Tensor Backward(const Tensor& grad) const { return torch::where(keep, Scaled(grad), torch::zeros_like(grad)); }
  // One operation in f32 (f64 for f64), then one conversion.
  Tensor Scaled(const Tensor& x) const {
    if (x.scalar_type() == torch::kDouble) return x * gain;
    return (x.to(torch::kFloat) * static_cast<float>(gain)).to(x.scalar_type());
  }
};

Expected Expect(const std::string& line, double p, const Tensor& key, torch::IntArrayRef shape,
                torch::ScalarType dtype = torch::kFloat, int64_t first_sample = 0) {
  Spec spec;
  EXPECT_TRUE(ParseSpec(line, &spec).ok());
  const std::vector<int64_t> map(shape.begin() + 2, shape.end());
  const View x = DenseView(nullptr, CoreDType(dtype), shape[0], shape[1], map, Layout::kChannelsFirst, first_sample);
  MaskStorage storage;
  EXPECT_TRUE(storage.Reserve(spec, x).ok());
  const auto* words = reinterpret_cast<const uint64_t*>(key.const_data_ptr<int64_t>());
  const Status drawn = Sample(spec, static_cast<float>(p), words, x, Exec(), &storage.mask);
  EXPECT_TRUE(drawn.ok()) << drawn.message();
  Expected expected;
  expected.keep = torch::empty(shape, torch::kUInt8);
  EXPECT_TRUE(Unpack(storage.mask, expected.keep.mutable_data_ptr<uint8_t>()).ok());
  expected.keep = expected.keep.to(torch::kBool);
  Gain gain;
  EXPECT_TRUE(GainOf(storage.mask, Pass::kForward, 0, 0, x.dtype, &gain).ok());
  expected.gain = gain.a;
  expected.fill = gain.d;
  return expected;
}

Tensor SomeKey(int64_t seed) { return torch::tensor({seed, int64_t{77}}, torch::kInt64); }

// The message of the c10::Error that `action` throws; empty if it throws none.
std::string ErrorOf(const std::function<void()>& action) {
  try {
    action();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

#define EXPECT_ERROR(action, text)                                          \
  do {                                                                      \
    const std::string message = ErrorOf([&] { action; });                   \
    EXPECT_NE(message.find(text), std::string::npos) << "got: " << message; \
  } while (false)

struct ModuleCase {
  std::string line;
  double p;
  std::vector<int64_t> shape;
  std::function<torch::nn::AnyModule()> make;
};

template <typename Holder>
std::function<torch::nn::AnyModule()> Make(Holder holder) {
  return [holder] { return torch::nn::AnyModule(holder); };
}

std::vector<ModuleCase> ModuleCases() {
  const std::vector<int64_t> map = {6, 5, 14, 11};
  return {
      {"dropblock:block=3", 0.2, {6, 5, 40}, Make(DropBlock1d(0.2, 3))},
      {"dropblock:block=5", 0.15, map, Make(DropBlock2d(0.15, 5))},
      {"dropblock:block=3x5,rate=calibrated", 0.15, map,
       Make(DropBlock2d(0.15, std::vector<int64_t>{3, 5}, "rate=calibrated"))},
      {"dropblock:block=2x3x3,share=channels",
       0.2,
       {3, 4, 6, 7, 8},
       Make(DropBlock3d(0.2, std::vector<int64_t>{2, 3, 3}, "share=channels"))},
      {"dropout", 0.5, map, Make(Dropout())},
      {"dropout:normalize=kept,fill=-1.5", 0.3, map, Make(Dropout(0.3, "normalize=kept,fill=-1.5"))},
      {"spatial_dropout", 0.4, map, Make(SpatialDropout(0.4))},
      {"drop_path", 0.4, {40, 3, 5, 4}, Make(DropPath(0.4))},
      {"cutout:size=6", 1.0, map, Make(Cutout(6))},
      {"dropblock:block=3,share=batch", 0.25, map, Make(FromSpec("dropblock:block=3,share=batch@0.25"))},
  };
}

TEST(NnTest, EveryModuleDropsWhatTheCoreDrawsAndItsGradientDoesToo) {
  for (const ModuleCase& test : ModuleCases()) {
    SCOPED_TRACE(test.line);
    torch::manual_seed(11);
    const Tensor x = torch::randn(test.shape).requires_grad_();
    const Tensor grad = torch::randn(test.shape);
    auto module = test.make();
    torch::manual_seed(5);
    const Tensor key = F::new_key();
    torch::manual_seed(5);
    const Tensor y = module.forward(x);
    const Expected expected = Expect(test.line, test.p, key, test.shape);
    const double kept = expected.keep.to(torch::kFloat).mean().item<double>();
    EXPECT_GT(kept, 0.2);
    EXPECT_LT(kept, 0.99);
    EXPECT_TRUE(torch::equal(y, expected.Forward(x.detach())));
    y.backward(grad);
    EXPECT_TRUE(torch::equal(x.grad(), expected.Backward(grad)));
  }
}

TEST(NnTest, EvalAndZeroPReturnTheInputItselfAndDrawNothing) {
  const Tensor x = torch::randn({2, 3, 8, 8});
  for (const ModuleCase& test : ModuleCases()) {
    SCOPED_TRACE(test.line);
    auto module = test.make();
    auto* layer = dynamic_cast<Layer*>(module.ptr().get());
    const Tensor input = torch::randn(test.shape);
    torch::manual_seed(3);
    const Tensor state = at::detail::getDefaultCPUGenerator().get_state();
    module.ptr()->eval();
    EXPECT_TRUE(module.forward(input).is_same(input));
    module.ptr()->train();
    layer->set_p(0);
    EXPECT_TRUE(module.forward(input).is_same(input));
    EXPECT_TRUE(torch::equal(state, at::detail::getDefaultCPUGenerator().get_state()));
    layer->set_p(test.p);
    module.ptr()->eval();
    layer->set_mc(true);
    EXPECT_FALSE(module.forward(input).is_same(input));
  }
}

TEST(NnTest, KeysAreTheOnesThatPythonDraws) {
  torch::manual_seed(4);
  const Tensor key = F::new_key();
  torch::manual_seed(4);
  EXPECT_TRUE(torch::equal(key, torch::randint(0, INT64_MAX, {2}, torch::kInt64)));
  EXPECT_EQ(key[0].item<int64_t>(), 8615179906827886767);  // torch.randint(0, 2**63 - 1, (2,))[0] in Python
}

TEST(NnTest, SeedsRepeatAndCallsDiffer) {
  DropBlock2d drop(0.2, 3);
  const Tensor x = torch::ones({4, 8, 16, 16});
  torch::manual_seed(21);
  const Tensor first = drop(x), second = drop(x);
  EXPECT_FALSE(torch::equal(first, second));
  torch::manual_seed(21);
  EXPECT_TRUE(torch::equal(first, drop(x)));
  EXPECT_TRUE(torch::equal(second, drop(x)));
}

TEST(NnTest, DTypes) {
  for (const auto dtype : {torch::kFloat, torch::kHalf, torch::kBFloat16, torch::kDouble}) {
    for (const std::string line : {"dropblock:block=3", "dropout:fill=0.3"}) {
      SCOPED_TRACE(line + " " + c10::toString(dtype));
      const Tensor x = torch::randn({3, 4, 9, 10}).to(dtype).requires_grad_();
      const Tensor y = F::drop(x, line, 0.3, SomeKey(1));
      const Expected expected = Expect(line, 0.3, SomeKey(1), x.sizes(), dtype);
      EXPECT_EQ(y.scalar_type(), dtype);
      EXPECT_TRUE(torch::equal(y, expected.Forward(x.detach())));
      const Tensor grad = torch::randn({3, 4, 9, 10}).to(dtype);
      y.backward(grad);
      EXPECT_TRUE(torch::equal(x.grad(), expected.Backward(grad)));
    }
  }
}

TEST(NnTest, MemoryFormatIsKeptAndChangesNoValue) {
  const Tensor x = torch::randn({3, 8, 10, 12});
  const Tensor last = x.contiguous(torch::MemoryFormat::ChannelsLast).requires_grad_();
  for (const std::string line : {"dropblock:block=3", "dropout", "spatial_dropout", "drop_path", "cutout:size=4"}) {
    SCOPED_TRACE(line);
    const double p = line[0] == 'c' ? 1.0 : 0.3;
    last.mutable_grad() = Tensor();
    const Tensor y = F::drop(last, line, p, SomeKey(2));
    EXPECT_TRUE(y.is_contiguous(torch::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(torch::equal(y, F::drop(x, line, p, SomeKey(2))));
    const Tensor grad = torch::randn({3, 8, 10, 12});  // the other format
    const Tensor dx = torch::autograd::grad({y}, {last}, {grad})[0];
    EXPECT_TRUE(dx.is_contiguous(torch::MemoryFormat::ChannelsLast));
    EXPECT_TRUE(torch::equal(dx, Expect(line, p, SomeKey(2), x.sizes()).Backward(grad)));
  }
}

TEST(NnTest, InputsAndGradientsOfAnyStrides) {
  const std::vector<int64_t> shape = {4, 6, 9, 10};
  const Expected expected = Expect("dropblock:block=3", 0.3, SomeKey(3), shape);
  const Tensor wide = torch::randn({8, 12, 18, 20});
  const std::vector<Tensor> inputs = {
      wide.slice(0, 0, 8, 2).slice(1, 0, 12, 2).slice(2, 0, 18, 2).slice(3, 0, 20, 2),
      torch::randn({10, 9, 6, 4}).permute({3, 2, 1, 0}),
      torch::randn({8, 9, 10, 6}).permute({0, 3, 1, 2}).slice(0, 0, 8, 2),
      torch::randn({6, 1, 10}).expand({4, 6, 9, 10}),
      torch::randn({}).expand({4, 6, 9, 10}),
  };
  for (const Tensor& input : inputs) {
    SCOPED_TRACE(c10::str(input.strides()));
    const Tensor x = input.detach().requires_grad_();
    const Tensor y = F::drop(x, "dropblock:block=3", 0.3, SomeKey(3));
    EXPECT_TRUE(torch::equal(y, expected.Forward(x.detach())));
    for (const Tensor& grad : inputs) {
      const Tensor dx = torch::autograd::grad({y}, {x}, {grad}, /*retain_graph=*/true)[0];
      EXPECT_TRUE(torch::equal(dx, expected.Backward(grad)));
    }
  }
}

TEST(NnTest, AnyShape) {
  const auto check = [](const Tensor& x, const std::string& line, std::vector<int64_t> read_as) {
    SCOPED_TRACE(line + c10::str(x.sizes()));
    const Tensor y = F::drop(x, line, 0.4, SomeKey(4));
    ASSERT_EQ(y.sizes(), x.sizes());
    const Expected expected = Expect(line, 0.4, SomeKey(4), read_as);
    EXPECT_TRUE(torch::equal(y, expected.Forward(x.reshape(read_as)).reshape(x.sizes())));
  };
  check(torch::randn({}), "dropout", {1, 1});
  check(torch::randn({50}), "dropout", {50, 1});
  check(torch::randn({7, 30}), "dropout", {7, 30});
  check(torch::randn({30, 7}).t(), "dropout", {7, 30});
  check(torch::randn({2, 3, 4, 5, 3, 2}), "dropout", {2, 3, 4, 5, 6});
  check(torch::randn({2, 3, 4, 5, 3, 2, 2}).transpose(5, 3), "spatial_dropout", {2, 3, 4, 2, 30});
  check(torch::randn({2, 3, 4, 5, 3, 2, 1, 2}), "drop_path", {2, 3, 4, 5, 12});
  check(torch::randn({8, 4, 3, 3}), "drop_connect", {1, 8, 4, 3, 3});
  check(torch::randn({8, 4, 3, 3, 2}).transpose(1, 2), "drop_connect", {1, 8, 3, 4, 6});
  check(torch::randn({4, 6, 5}), "drop_connect:share=none", {4, 6, 5});
  for (const std::vector<int64_t>& empty : {std::vector<int64_t>{0, 3, 4, 4}, {2, 0, 4, 4}, {2, 3, 4, 0}, {0}}) {
    const Tensor x = torch::randn(empty).requires_grad_();
    const Tensor y = F::drop(x, "dropout", 0.5, SomeKey(5));
    EXPECT_EQ(y.sizes(), x.sizes());
    y.sum().backward();
    EXPECT_EQ(x.grad().sizes(), x.sizes());
  }
}

TEST(NnTest, DifferentiatesTwice) {
  const std::vector<int64_t> shape = {3, 4, 8, 9};
  const Expected expected = Expect("dropblock:block=3", 0.3, SomeKey(6), shape, torch::kDouble);
  const Tensor x = torch::randn(shape, torch::kDouble).requires_grad_();
  const Tensor v = torch::randn(shape, torch::kDouble).requires_grad_();
  const Tensor w = torch::randn(shape, torch::kDouble);
  const Tensor y = F::drop(x * x, "dropblock:block=3", 0.3, SomeKey(6));
  const Tensor dx = torch::autograd::grad({y}, {x}, {v}, true, /*create_graph=*/true)[0];
  EXPECT_TRUE(torch::allclose(dx, 2 * x * expected.Backward(v)));
  const auto second = torch::autograd::grad({dx}, {x, v}, {w}, true, true);
  EXPECT_TRUE(torch::allclose(second[0], 2 * w * expected.Backward(v)));
  EXPECT_TRUE(torch::allclose(second[1], expected.Backward(2 * x * w)));
  const Tensor third = torch::autograd::grad({second[1]}, {x}, {w})[0];
  EXPECT_TRUE(torch::allclose(third, expected.Backward(2 * w) * w));
}

TEST(NnTest, FirstSampleContinuesTheBatch) {
  const Tensor x = torch::randn({8, 3, 10, 10});
  const Tensor whole = F::drop(x, "dropblock:block=3,normalize=asked", 0.3, SomeKey(7));
  const Tensor head = F::drop(x.slice(0, 0, 5), "dropblock:block=3,normalize=asked", 0.3, SomeKey(7));
  const Tensor tail = F::drop(x.slice(0, 5), "dropblock:block=3,normalize=asked", 0.3, SomeKey(7), true, 5);
  EXPECT_TRUE(torch::equal(whole, torch::cat({head, tail})));
}

TEST(NnTest, ThreadsDoNotMatter) {
  const Tensor x = torch::randn({16, 32, 28, 28});
  const int before = torch::get_num_threads();
  std::vector<Tensor> results;
  for (const int threads : {1, 2, 3}) {
    torch::set_num_threads(threads);
    results.push_back(F::drop(x, "dropblock:block=5", 0.2, SomeKey(8)));
  }
  torch::set_num_threads(before);
  EXPECT_TRUE(torch::equal(results[0], results[1]));
  EXPECT_TRUE(torch::equal(results[0], results[2]));
}

TEST(NnTest, DropConnectSharedByTheBatch) {
  DropConnectLinear layer(6, 4, 0.5);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{5, 6}, {2, 3, 6}, {6}}) {
    layer->zero_grad();
    const Tensor x = torch::randn(shape);
    torch::manual_seed(9);
    const Tensor key = F::new_key();
    torch::manual_seed(9);
    const Tensor y = layer(x);
    const Expected expected = Expect("drop_connect", 0.5, key, {1, 4, 6});
    const Tensor weight = expected.Forward(layer->weight.detach().unsqueeze(0)).squeeze(0);
    EXPECT_TRUE(torch::equal(y, torch::linear(x, weight, layer->bias)));
    y.sum().backward();
    const Tensor full = x.reshape({-1, 6}).sum(0).expand({4, 6});
    EXPECT_TRUE(torch::allclose(layer->weight.grad(), expected.Backward(full.unsqueeze(0)).squeeze(0)));
  }
  layer->eval();
  const Tensor x = torch::randn({5, 6});
  EXPECT_TRUE(torch::equal(layer(x), torch::linear(x, layer->weight, layer->bias)));
}

TEST(NnTest, DropConnectPerSample) {
  DropConnectLinear layer(6, 4, 0.5, "share=none", /*with_bias=*/false);
  for (const std::vector<int64_t>& shape : {std::vector<int64_t>{5, 6}, {5, 2, 3, 6}, {6}, {0, 6}}) {
    const Tensor x = torch::randn(shape);
    const int64_t samples = shape.size() > 1 ? shape[0] : 1;
    torch::manual_seed(10);
    const Tensor key = F::new_key();
    torch::manual_seed(10);
    const Tensor y = layer(x);
    std::vector<int64_t> out = shape;
    out.back() = 4;
    ASSERT_EQ(y.sizes(), torch::IntArrayRef(out));
    if (samples == 0) continue;
    const Expected expected = Expect("drop_connect:share=none", 0.5, key, {samples, 4, 6});
    const Tensor weights = expected.Forward(layer->weight.detach().expand({samples, 4, 6}));
    for (int64_t n = 0; n < samples; ++n) {
      const Tensor row = shape.size() > 1 ? x[n] : x, got = shape.size() > 1 ? y[n] : y;
      EXPECT_TRUE(torch::allclose(got, torch::linear(row, weights[n])));
    }
  }
}

struct Net : torch::nn::Cloneable<Net> {
  Net() { reset(); }
  void reset() override {
    conv = register_module("conv", torch::nn::Conv2d(3, 4, 3));
    block = register_module("block", DropBlock2d(0.2, 3));
    path = register_module("path", DropPath(0.4));
    head = register_module("head", DropConnectLinear(4, 2, 0.6));
  }
  torch::nn::Conv2d conv{nullptr};
  DropBlock2d block{nullptr};
  DropPath path{nullptr};
  DropConnectLinear head{nullptr};
};

TEST(NnTest, AddsNoParametersAndNoBuffers) {
  Net net;
  EXPECT_EQ(net.parameters().size(), 4u);
  EXPECT_EQ(net.buffers().size(), 0u);
  EXPECT_EQ(net.head->named_parameters().keys(), torch::nn::Linear(4, 2)->named_parameters().keys());
}

TEST(NnTest, CloneIsIndependent) {
  auto net = std::make_shared<Net>();
  net->block->set_p(0.35);
  net->block->set_mc(true);
  auto copy = std::dynamic_pointer_cast<Net>(net->clone());
  EXPECT_EQ(copy->block->p(), 0.35);
  EXPECT_TRUE(copy->block->mc());
  EXPECT_EQ(copy->block->spec(), net->block->spec());
  EXPECT_TRUE(torch::equal(copy->head->weight, net->head->weight));
  copy->block->set_p(0.1);
  torch::NoGradGuard no_grad;
  copy->head->weight.zero_();
  EXPECT_EQ(net->block->p(), 0.35);
  EXPECT_FALSE(torch::equal(copy->head->weight, net->head->weight));
}

TEST(NnTest, ArchiveHoldsPAndSpec) {
  auto net = std::make_shared<Net>();
  net->block->set_p(0.123456789);
  std::stringstream file;
  torch::save(net, file);
  auto other = std::make_shared<Net>();
  other->block = other->replace_module("block", DropBlock2d(0.9, 5, "rate=calibrated"));
  torch::load(other, file);
  EXPECT_EQ(other->block->p(), 0.123456789);
  EXPECT_EQ(other->block->spec(), net->block->spec());
  EXPECT_NE(other->block->spec().find("block=3"), std::string::npos);
  EXPECT_NE(other->block->spec().find("draw=1"), std::string::npos);
  EXPECT_TRUE(torch::equal(other->head->weight, net->head->weight));
}

TEST(NnTest, ArchivesOfOtherLayers) {
  torch::nn::Sequential plain({{"drop", torch::nn::AnyModule(torch::nn::Dropout())}});
  torch::nn::Sequential block({{"drop", torch::nn::AnyModule(DropBlock2d(0.25, 3))}});
  torch::nn::Sequential path({{"drop", torch::nn::AnyModule(DropPath(0.1))}});
  std::stringstream without, with;
  torch::save(plain, without);
  torch::load(block, without);
  EXPECT_EQ(block[0]->as<DropBlock2dImpl>()->p(), 0.25);
  torch::save(path, with);
  EXPECT_ERROR(torch::load(block, with), "drop_path");
  EXPECT_EQ(block[0]->as<DropBlock2dImpl>()->p(), 0.25);
}

TEST(NnTest, PrintsSpecAndP) {
  std::ostringstream text;
  text << DropBlock2d(0.25, 5) << Cutout() << DropConnectLinear(3, 2);
  for (const char* part :
       {"DropBlock2d(dropblock:block=5, p=0.25)", "Cutout(cutout", "in_features=3, out_features=2"}) {
    EXPECT_NE(text.str().find(part), std::string::npos) << text.str();
  }
}

TEST(LinearScheduleTest, RisesToEachTarget) {
  Net net;
  LinearSchedule schedule(net, 4);
  ASSERT_EQ(schedule.layers().size(), 3u);
  EXPECT_EQ(net.block->p(), 0);
  for (const double part : {0.25, 0.5, 0.75, 1.0, 1.0}) {
    schedule.step();
    EXPECT_DOUBLE_EQ(net.block->p(), 0.2 * part);
    EXPECT_DOUBLE_EQ(net.path->p(), 0.4 * part);
  }
  EXPECT_EQ(net.path->p(), 0.4);
  DropPath falls(0.1);
  LinearSchedule down({falls.ptr()}, 2, 0.5);
  EXPECT_EQ(falls->p(), 0.5);
  down.step();
  EXPECT_DOUBLE_EQ(falls->p(), 0.3);
}

TEST(LinearScheduleTest, StateRestoresEveryP) {
  Net net, other;
  LinearSchedule schedule(net, 7), resumed(other, 3, 0.9);
  for (int i = 0; i < 3; ++i) schedule.step();
  net.path->set_p(0.987);  // p itself is saved, not made again from the formula
  std::stringstream file;
  torch::save(schedule, file);
  torch::load(resumed, file);
  EXPECT_EQ(other.block->p(), net.block->p());
  EXPECT_EQ(other.path->p(), 0.987);
  schedule.step();
  resumed.step();
  EXPECT_EQ(resumed.count(), 4);
  EXPECT_EQ(other.block->p(), net.block->p());
  EXPECT_EQ(other.path->p(), net.path->p());

  DropPath alone(0.1);
  LinearSchedule one({alone.ptr()}, 2);
  std::stringstream again;
  torch::save(schedule, again);
  EXPECT_ERROR(torch::load(one, again), "3 layers");
  EXPECT_EQ(one.count(), 0);
  torch::serialize::OutputArchive bad;
  one.save(bad);
  bad.write("p", c10::IValue(std::vector<double>{1.5}));
  std::stringstream third;
  bad.save_to(third);
  alone->set_p(0.3);
  EXPECT_ERROR(torch::load(one, third), "1.5");
  EXPECT_EQ(alone->p(), 0.3);
}

TEST(NnTest, ErrorsAreTorchsAndSayWhatIsAllowed) {
  const Tensor x = torch::randn({2, 3, 8, 8});
  EXPECT_ERROR(DropBlock2d(1.5), "1.5");
  EXPECT_ERROR(DropBlock2d(std::nan("")), "allowed");
  EXPECT_ERROR(DropBlock2d(0.1, 0), "0");
  EXPECT_ERROR(DropBlock2d(0.1, 7, "rate=calibratd"), "calibrated");
  EXPECT_ERROR(DropBlock2d(0.1, 7, "block=3"), "block");
  EXPECT_ERROR(DropBlock2d(0.1)(x[0]), "3 dimensions");
  EXPECT_ERROR(FromSpec("dropblok:block=7"), "dropblock");
  EXPECT_ERROR(FromSpec("drop_connect@0.5"), "DropConnectLinear");
  EXPECT_ERROR(Dropout(0.5)->set_p(-0.1), "-0.1");
  EXPECT_ERROR(F::drop(x.to(torch::kInt), "dropout", 0.5), "Int");
  EXPECT_ERROR(F::drop(torch::randn({2, 3, 4, 4, 4, 4}), "dropblock:block=3", 0.5), "spatial");
  EXPECT_ERROR(F::drop(x, "dropblock:block=3x3x3", 0.5), "3x3x3");
  EXPECT_ERROR(F::drop(x, "dropout", 0.5, torch::tensor({1, 2, 3})), "key");
  EXPECT_ERROR(F::drop(x, "dropout", 0.5, torch::tensor({1.0, 2.0})), "key");
  EXPECT_ERROR(F::drop(x, "dropout", 0.5, std::nullopt, true, -1), "first_sample");
  EXPECT_ERROR(LinearSchedule({}, 0), "steps");
  EXPECT_ERROR(DropConnectLinear(3, 2, 0.5, "share=none")(torch::randn({4, 5})), "weight");
}

}  // namespace
}  // namespace dropkit::nn
