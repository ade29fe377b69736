// dropkit::nn::LinearSchedule: p of many layers over training steps, and its state in an archive.
//
// The formula is in nn.h. At and after the last step p is the target itself, not a sum that rounds near it.
#include <torch/serialize/input-archive.h>
#include <torch/serialize/output-archive.h>

#include <algorithm>

#include "dropkit/nn.h"

namespace dropkit::nn {
namespace {

std::vector<std::shared_ptr<Layer>> LayersBelow(torch::nn::Module& root) {
  std::vector<std::shared_ptr<Layer>> layers;
  for (const auto& module : root.modules(/*include_self=*/false)) {
    auto layer = std::dynamic_pointer_cast<Layer>(module);
    if (layer && std::find(layers.begin(), layers.end(), layer) == layers.end()) layers.push_back(layer);
  }
  return layers;
}

void CheckP(const char* name, double p) {
  TORCH_CHECK(p >= 0 && p <= 1, name, " = ", p, "; allowed: a number from 0 to 1");
}

c10::IValue Read(torch::serialize::InputArchive& archive, const char* name) {
  c10::IValue value;
  TORCH_CHECK(archive.try_read(name, value), "LinearSchedule: the archive has no ", name);
  return value;
}

}  // namespace

LinearSchedule::LinearSchedule(torch::nn::Module& root, int64_t steps, double start)
    : LinearSchedule(LayersBelow(root), steps, start) {}

LinearSchedule::LinearSchedule(std::vector<std::shared_ptr<Layer>> layers, int64_t steps, double start)
    : layers_(std::move(layers)), steps_(steps), start_(start) {
  TORCH_CHECK(steps >= 1, "steps = ", steps, "; allowed: 1 or more");
  CheckP("start", start);
  for (const auto& layer : layers_) {
    TORCH_CHECK(layer, "layers: one is null; allowed: dropkit layers");
    targets_.push_back(layer->p());
  }
  Set();
}

void LinearSchedule::step() {
  ++count_;
  Set();
}

void LinearSchedule::Set() {
  const double part = static_cast<double>(count_) / static_cast<double>(steps_);
  for (size_t i = 0; i < layers_.size(); ++i) {
    layers_[i]->set_p(count_ >= steps_ ? targets_[i] : start_ + (targets_[i] - start_) * part);
  }
}

void LinearSchedule::save(torch::serialize::OutputArchive& archive) const {
  std::vector<double> p;
  for (const auto& layer : layers_) p.push_back(layer->p());
  archive.write("steps", c10::IValue(steps_));
  archive.write("start", c10::IValue(start_));
  archive.write("count", c10::IValue(count_));
  archive.write("targets", c10::IValue(targets_));
  archive.write("p", c10::IValue(p));
}

void LinearSchedule::load(torch::serialize::InputArchive& archive) {
  const c10::IValue steps = Read(archive, "steps"), start = Read(archive, "start"), count = Read(archive, "count");
  const std::vector<double> targets = Read(archive, "targets").toDoubleVector(),
                            p = Read(archive, "p").toDoubleVector();
  TORCH_CHECK(targets.size() == layers_.size() && p.size() == layers_.size(), "LinearSchedule: the archive is of ",
              p.size(), " layers; allowed: as many as here, ", layers_.size());
  TORCH_CHECK(steps.toInt() >= 1 && count.toInt() >= 0, "LinearSchedule: the archive has steps ", steps.toInt(),
              " and count ", count.toInt(), "; allowed: 1 or more, and 0 or more");
  CheckP("LinearSchedule: the archive's start", start.toDouble());
  for (size_t i = 0; i < p.size(); ++i) {
    CheckP("LinearSchedule: the archive's target", targets[i]);
    CheckP("LinearSchedule: the archive's p", p[i]);
  }
  steps_ = steps.toInt();
  start_ = start.toDouble();
  count_ = count.toInt();
  targets_ = targets;
  for (size_t i = 0; i < layers_.size(); ++i) layers_[i]->set_p(p[i]);
}

torch::serialize::OutputArchive& operator<<(torch::serialize::OutputArchive& archive, const LinearSchedule& schedule) {
  schedule.save(archive);
  return archive;
}

torch::serialize::InputArchive& operator>>(torch::serialize::InputArchive& archive, LinearSchedule& schedule) {
  schedule.load(archive);
  return archive;
}

}  // namespace dropkit::nn
