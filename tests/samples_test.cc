// The report's sample images from networks that were never trained: which images, whose masks, which boxes. How good a
// network is does not matter here; that sampling leaves it and torch's generator alone does.
#include "cli/train/samples.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cli/train/scenes.h"

namespace dropkit::cli {
namespace {

constexpr int64_t kTest = 60;

const Task& TaskOf(const std::string& name) {
  for (const Task& task : Tasks()) {
    if (task.name == name) return task;
  }
  throw std::runtime_error(name);
}

// Noise, which no two images share; labels 3, 3, 4, 4, ... so that the first of each class are the even ones.
Images Noise(const Task& task, int64_t count, uint64_t seed) {
  Random random(seed, Stream::kSubset);
  Images images{count, task.side, task.side, task.channels, {}, {}};
  for (int64_t i = 0; i < count * images.image_size(); ++i) {
    images.pixels.push_back(static_cast<uint8_t>(random.Below(256)));
  }
  for (int64_t i = 0; i < count; ++i) images.labels.push_back(static_cast<uint8_t>((3 + i / 2) % 10));
  return images;
}

std::vector<std::string> Names() {
  std::vector<std::string> names;
  for (int i = 0; i < 10; ++i) names.push_back("class " + std::to_string(i));
  return names;
}

struct Sampled {
  explicit Sampled(const std::string& task_name, const std::string& line)
      : task(TaskOf(task_name)),
        examples(MakeExamples(task, {Noise(task, 80, 1), Noise(task, kTest, 2), 10, {}}, 0, 64, kTest)) {
    torch::set_num_threads(1);  // so little work is done sooner by one
    method.name = line;
    method.none = line == "none";
    EXPECT_TRUE(method.none || ParseCase(line, &method.spec, &method.p).ok());
    network = Network(method, NetworkShape{task.channels, 10, task.stem_stride});
    network->Initialise(7);
    RunSettings run{};
    run.task = &task;
    run.method = method;
    run.seed = 5;
    samples = MakeSamples(run, examples, Names(), network);
  }

  torch::Tensor Input(int64_t index, const std::vector<Box>* squares = nullptr) const {
    return InputBatch(examples.test, &index, 1, squares);
  }

  const Task& task;
  Examples examples;
  MethodCase method;
  Network network = nullptr;
  RunSamples samples;
};

const std::vector<std::string> kLines = {"none",          "dropout@0.1", "spatial_dropout@0.1", "dropblock:block=7@0.1",
                                         "drop_path@0.6", "cutout@1",    "drop_connect@0.5"};

TEST(SamplesTest, ImagesAreTheFirstOfTheirClassesForEveryMethod) {
  for (const std::string& line : kLines) {
    const Sampled sampled("fashion", line);
    EXPECT_EQ(sampled.samples.method, line);
    EXPECT_EQ(sampled.samples.seed, 5u);
    ASSERT_EQ(sampled.samples.images.size(), kSampleImages);
    for (size_t i = 0; i < kSampleImages; ++i) {
      const SampleImage& image = sampled.samples.images[i];
      const auto index = static_cast<int64_t>(2 * i);
      EXPECT_EQ(image.label, "class " + std::to_string((3 + i) % 10));
      EXPECT_EQ(image.image.height, 28);
      EXPECT_EQ(image.image.channels, 1);
      EXPECT_TRUE(std::equal(image.image.pixels.begin(), image.image.pixels.end(), sampled.examples.test.image(index)));
      EXPECT_EQ(image.image.pixels.size(), 28u * 28u);
      EXPECT_FALSE(image.item || image.found) << "no scene";
      EXPECT_TRUE(image.activation.empty());
    }
  }
}

TEST(SamplesTest, PredictionsAreTheNetworks) {
  Sampled sampled("fashion", "dropout@0.1");
  const std::vector<Box>& squares = sampled.examples.erased[1];  // 10x10, of 6, 10 and 14
  const torch::NoGradGuard no_grad;
  std::set<std::string> predictions;
  for (int64_t i = 0; i < 5; ++i) {
    const SampleImage& image = sampled.samples.images[i];
    const auto clean = sampled.network->forward(sampled.Input(2 * i)).argmax(1).item<int64_t>();
    const auto erased = sampled.network->forward(sampled.Input(2 * i, &squares)).argmax(1).item<int64_t>();
    EXPECT_EQ(image.predicted, Names()[clean]);
    EXPECT_EQ(image.predicted_erased, Names()[erased]);
    ASSERT_TRUE(image.erased);
    EXPECT_EQ(image.erased->top, squares[2 * i].top);
    EXPECT_EQ(image.erased->right, squares[2 * i].right);
    EXPECT_EQ(image.erased->bottom - image.erased->top, 10);
  }
}

int64_t ChannelOf(const MaskedMap& map) { return std::stoll(map.title.substr(map.title.find("channel ") + 8)) - 1; }

// The binding draws for the whole batch and by torch's operators; the sample's own draw must be its part of that.
TEST(SamplesTest, MapsAreMaskedAsTheLayersWouldUnderTheKey) {
  for (const std::string line : {"dropout@0.1", "spatial_dropout@0.3", "dropblock:block=7@0.1"}) {
    Sampled sampled("fashion", line);
    const torch::NoGradGuard no_grad;
    int64_t dropped = 0;
    for (int64_t i = 0; i < 5; ++i) {
      const std::vector<Site> sites = sampled.network->Sites(sampled.Input(2 * i));
      ASSERT_EQ(sampled.samples.images[i].maps.size(), 2u);
      for (int64_t place = 0; place < 2; ++place) {
        const MaskedMap& map = sampled.samples.images[i].maps[place];
        const torch::Tensor values = sites[place].values;
        ASSERT_EQ(values.sizes().vec(),
                  (place == 0 ? std::vector<int64_t>{1, 16, 14, 14} : std::vector<int64_t>{1, 32, 7, 7}));
        const torch::Tensor batch = torch::ones({5, values.size(1), values.size(2), values.size(3)});
        const torch::Tensor key = torch::tensor(std::vector<int64_t>{1, place}, torch::kInt64);
        const torch::Tensor y = nn::functional::drop(batch, PrintSpec(sampled.method.spec), sampled.method.p, key);
        const int64_t channel = ChannelOf(map);
        const torch::Tensor keep = y[i].ne(0).to(torch::kUInt8);
        EXPECT_TRUE(keep.slice(0, 0, channel).all().item<bool>()) << "the first channel with a drop";
        EXPECT_EQ(map.title.ends_with("(the first with a drop)"), !keep.all().item<bool>()) << map.title;
        const torch::Tensor given = torch::tensor(map.keep).reshape({map.height, map.width});
        EXPECT_TRUE(given.eq(keep[channel]).all().item<bool>()) << line;
        EXPECT_TRUE(torch::tensor(map.values).reshape_as(given).eq(values[0][channel]).all().item<bool>());
        dropped += (1 - given.to(torch::kInt64)).sum().item<int64_t>();
      }
    }
    EXPECT_GT(dropped, 0) << line;
  }
}

TEST(SamplesTest, OtherMethodsActElsewhere) {
  const Sampled none("fashion", "none"), path("fashion", "drop_path@0.6"),
      cutout("scenes", "cutout:size=20,region=valid@1"), connect("fashion", "drop_connect@0.5");
  std::set<std::string> branches;
  for (size_t i = 0; i < kSampleImages; ++i) {
    for (const MaskedMap& map : none.samples.images[i].maps) EXPECT_TRUE(map.keep.empty());
    EXPECT_EQ(none.samples.images[i].maps.size(), 2u);

    ASSERT_EQ(path.samples.images[i].maps.size(), 1u);
    const MaskedMap& row = path.samples.images[i].maps[0];
    EXPECT_EQ(row.height, 1);
    EXPECT_EQ(row.width, 4);
    EXPECT_EQ(row.values.size(), 4u);
    ASSERT_EQ(row.keep.size(), 4u);
    branches.insert(std::string(row.keep.begin(), row.keep.end()));

    const MaskedMap& input = cutout.samples.images[i].maps.at(0);
    EXPECT_EQ(input.title, "input, 56x56");
    EXPECT_EQ(std::count(input.keep.begin(), input.keep.end(), 0), 400) << "a square of 20x20";

    const MaskedMap& weights = connect.samples.images[i].maps.at(0);
    EXPECT_EQ(weights.title, "last layer's weights, 10x32");
    EXPECT_NEAR(std::count(weights.keep.begin(), weights.keep.end(), 0), 160, 45) << "5 standard deviations of 320";
    EXPECT_EQ(weights.keep, connect.samples.images[0].maps[0].keep) << "one mask for all images of a batch";
  }
  EXPECT_GT(branches.size(), 1u) << "images drop branches of their own";
}

TEST(SamplesTest, ScenesHaveActivationMaps) {
  const std::set<float> levels = {.15f, .25f, .35f, .5f, .65f, .8f};
  Sampled sampled("scenes", "dropblock:block=7@0.1");
  const Localised best = Localise(sampled.network, sampled.examples);
  for (size_t i = 0; i < kSampleImages; ++i) {
    const SampleImage& image = sampled.samples.images[i];
    ASSERT_EQ(image.activation.size(), 56u * 56u);
    EXPECT_EQ(image.level, best.level);
    EXPECT_TRUE(levels.contains(image.level));
    const auto [low, high] = std::minmax_element(image.activation.begin(), image.activation.end());
    EXPECT_GE(*low, 0);
    EXPECT_TRUE(*high == 1.0f || *high == 0.0f);
    const Box found = BoxAbove(image.activation.data(), kSceneSide, image.level);
    EXPECT_EQ(image.found.has_value(), found.bottom > 0);
    EXPECT_TRUE(!image.found || Overlap(*image.found, found) == 1.0);
    ASSERT_TRUE(image.item);
    EXPECT_EQ(Overlap(*image.item, sampled.examples.items[2 * i]), 1.0);
  }
}

TEST(SamplesTest, ColourImagesHaveMapsOfTheirOwnSizes) {
  const Sampled sampled("cifar", "dropblock:block=7@0.1"), cutout("cifar", "cutout:size=12,region=valid@1");
  const SampleImage& image = sampled.samples.images[0];
  EXPECT_EQ(image.image.channels, 3);
  EXPECT_EQ(image.image.pixels.size(), 32u * 32u * 3u);
  EXPECT_TRUE(image.maps.at(0).title.starts_with("stage 1, 16x16, channel "));
  EXPECT_TRUE(image.maps.at(1).title.starts_with("stage 2, 8x8, channel "));
  const MaskedMap& input = cutout.samples.images[0].maps.at(0);
  EXPECT_EQ(input.title, "input, 32x32");
  EXPECT_EQ(std::count(input.keep.begin(), input.keep.end(), 0), 144);
  // The square's corner is a mean over channels of the normalised colours.
  EXPECT_NEAR(input.values[0], cutout.Input(0).mean(1)[0][0][0].item<float>(), 1e-6);
}

TEST(SamplesTest, SamplingLeavesGeneratorAndNetworkAlone) {
  for (const std::string& line : kLines) {
    Sampled sampled("scenes", line);
    const auto state = [&] {
      std::vector<torch::Tensor> all = {at::detail::getDefaultCPUGenerator().get_state()};
      for (const auto& tensor : sampled.network->parameters()) all.push_back(tensor.detach().clone());
      for (const auto& tensor : sampled.network->buffers()) all.push_back(tensor.clone());
      return all;
    };
    const std::vector<torch::Tensor> before = state();
    RunSettings run{};
    run.task = &sampled.task;
    run.method = sampled.method;
    MakeSamples(run, sampled.examples, {}, sampled.network);
    const std::vector<torch::Tensor> after = state();
    for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(torch::equal(before[i], after[i])) << line << " " << i;
  }
}

TEST(SamplesTest, AMethodThatDoesNotFitIsAnError) {
  EXPECT_THROW(Sampled("fashion", "dropblock:block=9,clip=error@0.1"), std::runtime_error);
}

}  // namespace
}  // namespace dropkit::cli
