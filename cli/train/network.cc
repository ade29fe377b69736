// Where each method acts: dropout, spatial_dropout and dropblock at the paper's sites (after each convolution of a
// block and on its shortcut), drop_path on the residual branch, cutout on the input, drop_connect on the last layer.
#include "cli/train/network.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "cli/train/scenes.h"

namespace dropkit::cli {
namespace {

namespace tn = torch::nn;

constexpr int kWidth = 16;  // of the stem and stage 1; stage 2 has twice that
constexpr int kBlocks = 4, kBlocksAStage = 2;
constexpr int64_t kTestBatch = 500;

bool Is(const MethodCase& method, std::initializer_list<Method> kinds) {
  return !method.none && std::find(kinds.begin(), kinds.end(), method.spec.method) != kinds.end();
}

tn::Conv2d Conv(int in, int out, int size, int stride) {
  return tn::Conv2d(tn::Conv2dOptions(in, out, size).stride(stride).padding(size / 2).bias(false));
}

nn::Drop MakeDrop(const MethodCase& method, double share_of_p = 1.0) {
  return nn::Drop(PrintSpec(method.spec, SpecForm::kFull), share_of_p * method.p);
}

torch::Tensor Through(nn::Drop& drop, torch::Tensor x) { return drop ? drop->forward(x) : x; }

// Stochastic depth drops the later blocks, counted from 1, more often.
double ShareOfP(int depth) { return double(depth) / kBlocks; }

class BlockImpl : public tn::Module {
 public:
  BlockImpl(int in, int out, int stride, const MethodCase& method, int depth)
      : conv1_(register_module("conv1", Conv(in, out, 3, stride))),
        bn1_(register_module("bn1", tn::BatchNorm2d(out))),
        conv2_(register_module("conv2", Conv(out, out, 3, 1))),
        bn2_(register_module("bn2", tn::BatchNorm2d(out))) {
    if (stride != 1 || in != out) {
      shortcut_ = register_module("shortcut", tn::Sequential(Conv(in, out, 1, stride), tn::BatchNorm2d(out)));
    }
    if (Is(method, {Method::kDropout, Method::kSpatialDropout, Method::kDropBlock})) {
      after1_ = register_module("drop1", MakeDrop(method));
      after2_ = register_module("drop2", MakeDrop(method));
      on_shortcut_ = register_module("drop3", MakeDrop(method));
    }
    if (Is(method, {Method::kDropPath})) path_ = register_module("path", MakeDrop(method, ShareOfP(depth)));
  }

  // What the first drop of the block sees.
  torch::Tensor BeforeDrop(const torch::Tensor& x) { return bn1_(conv1_(x)).relu_(); }

  // What drop_path sees.
  torch::Tensor Branch(const torch::Tensor& x) {
    return Through(after2_, bn2_(conv2_(Through(after1_, BeforeDrop(x)))));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    const torch::Tensor branch = Through(path_, Branch(x));
    const torch::Tensor straight = Through(on_shortcut_, shortcut_ ? shortcut_->forward(x) : x);
    return (branch + straight).relu_();
  }

 private:
  tn::Conv2d conv1_;
  tn::BatchNorm2d bn1_;
  tn::Conv2d conv2_;
  tn::BatchNorm2d bn2_;
  tn::Sequential shortcut_ = nullptr;
  nn::Drop after1_ = nullptr, after2_ = nullptr, on_shortcut_ = nullptr, path_ = nullptr;
};
TORCH_MODULE(Block);

// The keys of a full spec line: what follows the method's name.
std::string Keys(const Spec& spec) {
  const std::string line = PrintSpec(spec, SpecForm::kFull);
  return line.substr(line.find(':') + 1);
}

// Calls visit(images, labels, index of the first, count) for each batch of the first `total` test images.
template <class Visit>
void ForTestBatches(const Images& images, const std::vector<Box>* erased, int64_t total, Visit visit) {
  std::vector<int64_t> all(total);
  std::iota(all.begin(), all.end(), int64_t{0});
  for (int64_t first = 0; first < total; first += kTestBatch) {
    const int64_t count = std::min(kTestBatch, total - first);
    visit(InputBatch(images, all.data() + first, count, erased), LabelBatch(images, all.data() + first, count), first,
          count);
  }
}

// A pixel's value by channel, channels innermost.
std::vector<float> NormalisedValues(int64_t channels) {
  const std::vector<Pixels> pixels = PixelsOf(channels);
  std::vector<float> table;
  for (int value = 0; value < 256; ++value) {
    for (int64_t channel = 0; channel < channels; ++channel) {
      table.push_back((static_cast<float>(value) / 255.0f - pixels[channel].mean) / pixels[channel].deviation);
    }
  }
  return table;
}

}  // namespace

NetworkImpl::NetworkImpl(const MethodCase& method, const NetworkShape& shape) : method_(method) {
  stem_ = register_module("stem", tn::Sequential(Conv(static_cast<int>(shape.channels), kWidth, 3, shape.stem_stride),
                                                 tn::BatchNorm2d(kWidth), tn::ReLU(), tn::MaxPool2d(2)));
  blocks_ = register_module("blocks", tn::Sequential());
  for (int depth = 1; depth <= kBlocks; ++depth) {
    const int in = depth <= 3 ? kWidth : 2 * kWidth, out = depth <= 2 ? kWidth : 2 * kWidth;
    blocks_->push_back(Block(in, out, depth == 3 ? 2 : 1, method, depth));
  }
  if (Is(method, {Method::kDropConnect})) {
    drop_connect_ =
        register_module("head", nn::DropConnectLinear(2 * kWidth, shape.classes, method.p, Keys(method.spec)));
  } else {
    head_ = register_module("head", tn::Linear(2 * kWidth, shape.classes));
  }
  if (Is(method, {Method::kCutout})) input_drop_ = register_module("input", MakeDrop(method));
  for (const auto& module : blocks_->modules()) {
    if (auto layer = std::dynamic_pointer_cast<nn::Layer>(module)) scheduled_.push_back(std::move(layer));
  }
}

torch::Tensor NetworkImpl::Maps(torch::Tensor x) { return blocks_->forward(stem_->forward(Through(input_drop_, x))); }

torch::Tensor NetworkImpl::forward(torch::Tensor x) {
  const torch::Tensor features = Maps(x).mean({2, 3});
  return drop_connect_ ? drop_connect_->forward(features) : head_->forward(features);
}

torch::Tensor NetworkImpl::HeadWeight() const { return drop_connect_ ? drop_connect_->weight : head_->weight; }

std::vector<Site> NetworkImpl::Sites(const torch::Tensor& x) {
  if (Is(method_, {Method::kCutout})) return {{"input", x, method_.p}};
  if (drop_connect_) return {{"last layer's weights", HeadWeight(), method_.p}};
  const bool branches = Is(method_, {Method::kDropPath});
  std::vector<Site> sites;
  torch::Tensor maps = stem_->forward(x);
  for (int depth = 1; depth <= kBlocks; ++depth) {
    auto& block = *blocks_->ptr(depth - 1)->as<Block>();
    if (branches) {
      sites.push_back({"branch of block " + std::to_string(depth), block.Branch(maps), ShareOfP(depth) * method_.p});
    } else if (depth % kBlocksAStage == 0) {
      sites.push_back({"stage " + std::to_string(depth / kBlocksAStage), block.BeforeDrop(maps), method_.p});
    }
    maps = block.forward(maps);
  }
  return sites;
}

void NetworkImpl::Initialise(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  double bound = 0;
  for (auto& item : named_parameters()) {
    torch::Tensor& parameter = item.value();
    const bool weight = parameter.dim() > 1, norm = !weight && item.key().find("head") == std::string::npos;
    if (norm) continue;  // batch normalisation starts at 1 and 0
    // torch's default: uniform within 1/sqrt(inputs), a bias as the weight before it.
    if (weight) bound = 1 / std::sqrt(static_cast<double>(parameter[0].numel()));
    // Drawn in row-major order, whatever the memory format.
    parameter.copy_(torch::empty_like(parameter, at::MemoryFormat::Contiguous).uniform_(-bound, bound, generator));
    if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
  }
}

torch::Tensor InputBatch(const Images& images, const int64_t* chosen, int64_t count, const std::vector<Box>* erased) {
  const int64_t channels = images.channels;
  static const std::vector<float> grey = NormalisedValues(1), colour = NormalisedValues(3);
  const float* normalised = (channels == 1 ? grey : colour).data();
  torch::Tensor batch =
      torch::empty({count, channels, images.rows, images.cols}, torch::kFloat32, at::MemoryFormat::ChannelsLast);
  float* out = batch.data_ptr<float>();
  for (int64_t n = 0; n < count; ++n, out += images.image_size()) {
    const uint8_t* image = images.image(chosen[n]);
    for (int64_t i = 0; i < images.image_size(); ++i) out[i] = normalised[image[i] * channels + i % channels];
    if (erased == nullptr) continue;
    const Box& box = (*erased)[chosen[n]];
    for (int row = box.top; row < box.bottom; ++row) {
      std::fill_n(out + (row * images.cols + box.left) * channels, (box.right - box.left) * channels, 0.f);
    }
  }
  return batch;
}

torch::Tensor LabelBatch(const Images& images, const int64_t* chosen, int64_t count) {
  torch::Tensor labels = torch::empty({count}, torch::kInt64);
  for (int64_t n = 0; n < count; ++n) labels.data_ptr<int64_t>()[n] = images.labels[chosen[n]];
  return labels;
}

int64_t CountCorrect(const torch::Tensor& scores, const torch::Tensor& labels) {
  return scores.argmax(1).eq(labels).sum().item<int64_t>();
}

double TestAccuracy(Network& network, const Images& images, const std::vector<Box>* erased, int64_t count) {
  int64_t correct = 0;
  ForTestBatches(images, erased, count, [&](const torch::Tensor& x, const torch::Tensor& labels, int64_t, int64_t) {
    correct += CountCorrect(network->forward(x), labels);
  });
  return 100.0 * static_cast<double>(correct) / static_cast<double>(count);
}

torch::Tensor ActivationMaps(Network& network, const torch::Tensor& x, const torch::Tensor& classes) {
  const torch::Tensor weights = network->HeadWeight().index_select(0, classes).unsqueeze(-1).unsqueeze(-1);
  torch::Tensor maps = (network->Maps(x) * weights).sum(1, true).relu();
  maps = at::upsample_bilinear2d(maps, {kSceneSide, kSceneSide}, false).contiguous();
  return maps / maps.amax({1, 2, 3}, true).clamp_min(1e-12);
}

Localised Localise(Network& network, const Examples& examples) {
  constexpr std::array<float, 6> kLevels = {.15f, .25f, .35f, .5f, .65f, .8f};
  std::array<int64_t, kLevels.size()> hits{};
  const auto count_hits = [&](const torch::Tensor& x, const torch::Tensor& labels, int64_t first, int64_t count) {
    const torch::Tensor maps = ActivationMaps(network, x, labels);
    for (int64_t n = 0; n < count; ++n) {
      const float* map = maps.data_ptr<float>() + n * kSceneSide * kSceneSide;
      for (size_t i = 0; i < kLevels.size(); ++i) {
        hits[i] += Overlap(BoxAbove(map, kSceneSide, kLevels[i]), examples.items[first + n]) >= 0.5;
      }
    }
  };
  ForTestBatches(examples.test, nullptr, examples.test.count, count_hits);
  const auto best = std::max_element(hits.begin(), hits.end());
  return {100.0 * static_cast<double>(*best) / static_cast<double>(examples.test.count), kLevels[best - hits.begin()]};
}

}  // namespace dropkit::cli
