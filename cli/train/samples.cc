// Predictions, masks and activation maps for the report. Where the methods act is network.cc's to say; here a mask is
// drawn for what they act on, by the core, and one of the channels is chosen to be shown.
#include "cli/train/samples.h"

#include <algorithm>
#include <array>
#include <set>
#include <stdexcept>

#include "cli/train/scenes.h"
#include "dropkit/dropkit.h"

namespace dropkit::cli {
namespace {

constexpr uint64_t kSeedOfMasks = 1;

std::vector<int64_t> FirstOfClasses(const Images& images) {
  std::vector<int64_t> chosen;
  std::set<uint8_t> seen;
  for (int64_t i = 0; i < images.count && chosen.size() < kSampleImages; ++i) {
    if (seen.insert(images.labels[i]).second) chosen.push_back(i);
  }
  return chosen;
}

std::string NameOf(int64_t label, const std::vector<std::string>& names) {
  return names.empty() ? std::to_string(label) : names.at(label);
}

Picture PictureOf(const Images& images, int64_t index) {
  const uint8_t* pixels = images.image(index);
  return {static_cast<int>(images.rows), static_cast<int>(images.cols), static_cast<int>(images.channels),
          std::vector<uint8_t>(pixels, pixels + images.image_size())};
}

// A site's values as planes: the last two dimensions, of which a weight has no more.
struct Planes {
  int64_t channels;
  int height, width;
  torch::Tensor values;
};

Planes PlanesOf(const torch::Tensor& values) {
  const int64_t channels = values.dim() == 4 ? values.size(1) : 1;
  return {channels, static_cast<int>(values.size(-2)), static_cast<int>(values.size(-1)), values.contiguous()};
}

void Check(const Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

// One byte an element of the site's values, 1 = kept: what sample `index` of a batch would keep under the key.
std::vector<uint8_t> DrawKeep(const Spec& spec, const Site& site, int64_t index, uint64_t offset) {
  const bool weight = site.values.dim() == 2;
  const std::vector<int64_t> sizes = site.values.sizes().slice(weight ? 1 : 2).vec();
  const View view =
      DenseView(nullptr, DType::kF32, 1, site.values.size(weight ? 0 : 1), sizes, Layout::kChannelsFirst, index);
  const std::array<uint64_t, 2> key = {kSeedOfMasks, offset};
  MaskStorage storage;
  Check(storage.Reserve(spec, view));
  Check(Sample(spec, static_cast<float>(site.p), key.data(), view, {}, &storage.mask));
  std::vector<uint8_t> keep(site.values.numel());
  Check(Unpack(storage.mask, keep.data()));
  return keep;
}

// Most channels keep everything under most draws, so the first that does not is shown.
int64_t FirstDropped(const std::vector<uint8_t>& keep, int64_t channels) {
  const auto dropped = std::find(keep.begin(), keep.end(), 0);
  return dropped == keep.end() ? 0 : (dropped - keep.begin()) / (static_cast<int64_t>(keep.size()) / channels);
}

std::string Size(const Planes& planes) { return std::to_string(planes.height) + "x" + std::to_string(planes.width); }

MaskedMap ChannelMap(const Site& site, const std::vector<uint8_t>& keep, int64_t channel) {
  const Planes planes = PlanesOf(site.values);
  const int64_t size = int64_t{planes.height} * planes.width;
  MaskedMap map{site.title + ", " + Size(planes), planes.height, planes.width, {}, {}};
  if (planes.channels > 1)
    map.title += ", channel " + std::to_string(channel + 1) + " of " + std::to_string(planes.channels);
  const float* values = planes.values.data_ptr<float>() + channel * size;
  map.values.assign(values, values + size);
  if (!keep.empty()) map.keep.assign(keep.begin() + channel * size, keep.begin() + (channel + 1) * size);
  return map;
}

MaskedMap PlaneMap(const Site& site, const std::vector<uint8_t>& keep) {
  const int64_t channels = PlanesOf(site.values).channels;
  MaskedMap map = ChannelMap(site, keep, keep.empty() ? 0 : FirstDropped(keep, channels));
  if (channels > 1 && std::find(keep.begin(), keep.end(), 0) != keep.end()) map.title += " (the first with a drop)";
  return map;
}

// The mean of an image's channels where they are cut alike, else each.
std::vector<MaskedMap> InputMaps(const Site& site, const std::vector<uint8_t>& keep) {
  const int64_t channels = PlanesOf(site.values).channels, size = static_cast<int64_t>(keep.size()) / channels;
  if (std::equal(keep.begin() + size, keep.end(), keep.begin())) {
    const Site grey{site.title, site.values.mean(1, true), site.p};
    return {ChannelMap(grey, {keep.begin(), keep.begin() + size}, 0)};
  }
  std::vector<MaskedMap> maps;
  for (int64_t channel = 0; channel < channels; ++channel) maps.push_back(ChannelMap(site, keep, channel));
  return maps;
}

// A branch is kept or dropped whole: one cell a branch, with the mean size of what it adds.
MaskedMap BranchesMap(const Spec& spec, const std::vector<Site>& sites, int64_t index) {
  MaskedMap map{"residual branches, first to last block", 1, static_cast<int>(sites.size()), {}, {}};
  for (const Site& site : sites) {
    map.values.push_back(site.values.abs().mean().item<float>());
    map.keep.push_back(DrawKeep(spec, site, index, map.keep.size())[0]);
  }
  return map;
}

std::vector<MaskedMap> MapsOf(const MethodCase& method, const std::vector<Site>& sites, int64_t index) {
  if (!method.none && method.spec.method == Method::kDropPath) return {BranchesMap(method.spec, sites, index)};
  std::vector<MaskedMap> maps;
  for (const Site& site : sites) {
    std::vector<uint8_t> keep;
    if (!method.none) keep = DrawKeep(method.spec, site, index, maps.size());
    if (!method.none && method.spec.method == Method::kCutout) return InputMaps(site, keep);  // its only site
    maps.push_back(PlaneMap(site, keep));
  }
  return maps;
}

void AddActivation(const Examples& examples, int64_t index, float level, const torch::Tensor& x, Network& network,
                   SampleImage* sample) {
  const torch::Tensor map = ActivationMaps(network, x, LabelBatch(examples.test, &index, 1));
  const float* values = map.data_ptr<float>();
  sample->activation.assign(values, values + map.numel());
  sample->level = level;
  sample->item = examples.items[index];
  const Box found = BoxAbove(values, kSceneSide, level);
  if (found.bottom > found.top) sample->found = found;
}

}  // namespace

RunSamples MakeSamples(const RunSettings& run, const Examples& examples, const std::vector<std::string>& class_names,
                       Network& network) {
  const torch::NoGradGuard no_grad;
  network->eval();
  const Images& test = examples.test;
  const auto predict = [&](const torch::Tensor& x) {
    return NameOf(network->forward(x).argmax(1).item<int64_t>(), class_names);
  };
  // The square of middle size.
  const std::vector<Box>& squares = examples.erased.at((examples.erased.size() - 1) / 2);
  const float level = run.task->clutter ? Localise(network, examples).level : 0;
  RunSamples samples{run.method.name, run.seed, {}};
  for (const int64_t index : FirstOfClasses(test)) {
    const torch::Tensor x = InputBatch(test, &index, 1, nullptr);
    SampleImage sample;
    sample.image = PictureOf(test, index);
    sample.label = NameOf(test.labels[index], class_names);
    sample.predicted = predict(x);
    sample.erased = squares[index];
    sample.predicted_erased = predict(InputBatch(test, &index, 1, &squares));
    sample.maps = MapsOf(run.method, network->Sites(x), static_cast<int64_t>(samples.images.size()));
    if (run.task->clutter) AddActivation(examples, index, level, x, network, &sample);
    samples.images.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace dropkit::cli
