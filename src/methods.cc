// The rows. Where a default is a peer's or a paper's, the source is named; rate=paper stays DropBlock's default because
// published settings were tuned with it.
#include "methods.h"

#include "number.h"

namespace dropkit {
namespace {

Spec Defaults(Method method, Share share, Normalize normalize) {
  Spec spec;
  spec.method = method;
  spec.share = share;
  spec.normalize = normalize;
  return spec;
}

Spec CutoutDefaults() {
  Spec spec = Defaults(Method::kCutout, Share::kChannels, Normalize::kNone);
  spec.region = Region::kWhole;
  for (int64_t& side : spec.extent) side = 16;  // the paper's CIFAR-10 size
  return spec;
}

constexpr uint32_t kDropBlockKeys =
    kKeysOfAll | kKeyExtent | kKeyRegion | kKeyRate | kKeyGammaScale | kKeyAnchor | kKeyClip;

}  // namespace

const std::vector<MethodRow>& MethodTable() {
  static const auto* table = new std::vector<MethodRow>{
      {Method::kDropout, "dropout", Unit::kElement, "element", "the element", kKeysOfAll, true,
       Defaults(Method::kDropout, Share::kNone, Normalize::kExpected), 0.5f,
       "Srivastava et al., Dropout, JMLR 15 (2014)"},
      {Method::kSpatialDropout, "spatial_dropout", Unit::kChannel, "channel", "the channel's whole map", kKeysOfAll,
       false, Defaults(Method::kSpatialDropout, Share::kNone, Normalize::kExpected), 0.5f,
       "Tompson et al., Efficient Object Localization Using Convolutional Networks, CVPR 2015"},
      {Method::kDropPath, "drop_path", Unit::kSample, "sample", "the whole sample", kKeysOfAll, false,
       Defaults(Method::kDropPath, Share::kNone, Normalize::kExpected), 0.1f,
       "Huang et al., Deep Networks with Stochastic Depth, ECCV 2016"},
      {Method::kDropBlock, "dropblock", Unit::kSeed, "seed", "a block of the map at each seed", kDropBlockKeys, true,
       Defaults(Method::kDropBlock, Share::kNone, Normalize::kKept), 0.1f, "Ghiasi, Lin, Le, DropBlock, NeurIPS 2018"},
      {Method::kCutout, "cutout", Unit::kHole, "hole", "a square at a uniform place",
       kKeysOfAll | kKeyExtent | kKeyHoles | kKeyRegion, true, CutoutDefaults(), 1.0f,
       "DeVries, Taylor, Improved Regularization of CNNs with Cutout, arXiv 1708.04552 (2017)"},
      {Method::kDropConnect, "drop_connect", Unit::kWeight, "weight", "the weight", kKeysOfAll, false,
       Defaults(Method::kDropConnect, Share::kBatch, Normalize::kExpected), 0.5f,
       "Wan et al., Regularization of Neural Networks using DropConnect, ICML 2013"},
  };
  return *table;
}

const MethodRow& RowOf(Method method) { return MethodTable()[static_cast<size_t>(method)]; }

const std::vector<PresetRow>& PresetTable() {
  static const auto* table = new std::vector<PresetRow>{
      {"paper", "dropblock", 0.1f, "Ghiasi et al. 2018, Algorithm 1 and Equation 1"},
      {"recipe-a", "dropblock:block=3,region=whole", 0.1f,
       "PyTorch module: seeds on the whole map, gamma of the paper, normalised over the tensor"},
      {"recipe-b", "dropblock:share=batch", 0.1f, "TensorFlow function: one mask for the batch, one per channel"},
      {"tpu", "dropblock:clip=square", 0.1f, "tensorflow/tpu models/official/resnet"},
      {"torchvision", "dropblock:clip=square", 0.5f, "torchvision.ops.DropBlock2d, 0.29"},
      {"timm", "dropblock:region=whole,share=channels", 0.1f,
       "timm.layers.DropBlock2d, 1.0.31 (its with_noise is fill=noise,normalize=none)"},
      {"miguelvr", "dropblock:region=whole,rate=plain,anchor=after,clip=none,share=channels", 0.1f,
       "the PyPI package dropblock, 0.3"},
      {"mmdet", "dropblock:clip=error", 0.1f, "mmdetection's DropBlock plugin"},
      {"keras-cv", "dropblock:clip=none", 0.1f, "keras_cv.layers.DropBlock2D"},
      {"paddle", "dropblock:region=whole,clip=error", 0.1f, "PaddleDetection's DropBlock"},
      {"dragon", "dropblock:clip=error,share=channels,normalize=asked", 0.1f,
       "Seeta dragon's DropBlock, the release that scales by 1/(1-p)"},
  };
  return *table;
}

std::string ExtentText(const Spec& spec) {
  std::string text = std::to_string(spec.extent[0]);
  for (int axis = 1; axis < spec.extent_dims; ++axis) text += "x" + std::to_string(spec.extent[axis]);
  return text;
}

bool HasBlock(const Spec& spec) { return (RowOf(spec.method).keys & kKeyExtent) != 0; }
bool DropsWeights(const Spec& spec) { return RowOf(spec.method).unit == Unit::kWeight; }

namespace {

// A message is built only when something is wrong: a sound spec costs no allocation.
Status Bad(const Spec& spec, const std::string& what) {
  return Status::Invalid(std::string("spec ") + RowOf(spec.method).name + ": " + what);
}

bool EnumsAreInRange(const Spec& spec) {
  return spec.share <= Share::kAll && spec.normalize <= Normalize::kNone && spec.over <= Over::kPlane &&
         spec.fill <= Fill::kNoise && spec.region <= Region::kWhole && spec.rate <= Rate::kRaw &&
         spec.anchor <= Anchor::kAfter && spec.clip <= Clip::kError;
}

Status ValidateExtent(const Spec& spec) {
  if (spec.extent_dims < 1 || spec.extent_dims > 3) {
    return Bad(spec, "the block has " + std::to_string(spec.extent_dims) + " sizes; allowed: 1 to 3");
  }
  for (int i = 0; i < 3; ++i) {
    if (!IsExtent(spec.extent[i])) {
      return Bad(spec, "block or size " + std::to_string(spec.extent[i]) + "; allowed: 1 to 2^20");
    }
    if (i >= spec.extent_dims && spec.extent[i] != spec.extent[spec.extent_dims - 1]) {
      return Bad(spec, "extent[" + std::to_string(i) + "] = " + std::to_string(spec.extent[i]) +
                           "; allowed past extent_dims: the last size, " +
                           std::to_string(spec.extent[spec.extent_dims - 1]));
    }
  }
  return Status();
}

}  // namespace

Status ValidateSpec(const Spec& spec) {
  const auto method = static_cast<size_t>(spec.method);
  if (method >= MethodTable().size())
    return Status::Invalid("spec: method " + std::to_string(method) + " is not a method");
  const MethodRow& row = RowOf(spec.method);
  if (!EnumsAreInRange(spec)) return Bad(spec, "a field holds a number that is none of its enum's values");
  const bool shares_channels = spec.share == Share::kChannels || spec.share == Share::kAll;
  if (shares_channels && !row.channel_shares) {
    return Bad(spec, std::string("share=") + (spec.share == Share::kAll ? "all" : "channels") +
                         " has no meaning for a unit that is a " + row.unit_text + "; allowed: none, batch");
  }
  if (Status status = ValidateExtent(spec); !status.ok()) return status;
  if (!IsHoles(spec.holes)) {
    return Bad(spec, "holes=" + std::to_string(spec.holes) + "; allowed: 1 to 65535");
  }
  if (!IsFill(spec.fill_value)) return Bad(spec, "fill=nan; allowed: a number, noise");
  if (!IsGammaScale(spec.gamma_scale)) {
    return Bad(spec, "gamma_scale=" + PrintNumber(spec.gamma_scale) + "; allowed: a finite number >= 0");
  }
  if (spec.rate == Rate::kCalibrated && spec.gamma_scale != 1.0) {
    return Bad(spec, "rate=calibrated contradicts gamma_scale=" + PrintNumber(spec.gamma_scale) +
                         "; allowed with it: gamma_scale=1");
  }
  if (row.method == Method::kDropBlock && spec.anchor == Anchor::kAfter && spec.region == Region::kValid) {
    return Bad(
        spec,
        "anchor=after contradicts region=valid, where every block lies inside the map; allowed with it: anchor=before");
  }
  return Status();
}

}  // namespace dropkit
