// The training loop and its checkpoints: SGD with Nesterov momentum, warm-up and a cosine, per step. How it is measured
// is in network.cc, what the report shows of it in samples.cc.
// Bit-exact continuation rests on three things: batch order is a function of (seed, epoch); keys come from torch's
// generator, whose state is saved; and torch's CPU kernels repeat themselves for one number of threads.
#include "cli/train/trainer.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <iomanip>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <numbers>
#include <optional>
#include <sstream>
#include <stdexcept>

#include "cli/commit.h"
#include "cli/number.h"
#include "cli/train/checkpoint.h"
#include "cli/train/network.h"
#include "cli/train/samples.h"

namespace dropkit::cli {
namespace {

constexpr double kLearningRate = 0.1, kMomentum = 0.9, kDecay = 5e-4;
constexpr const char* kFormat = "1";  // of what a run keeps in its checkpoint

using Named = std::vector<std::pair<std::string, torch::Tensor>>;

Blob ToBlob(const torch::Tensor& tensor) {
  const torch::Tensor dense = tensor.detach().contiguous();
  const auto* data = static_cast<const uint8_t*>(dense.data_ptr());
  const char* dtype = dense.scalar_type() == torch::kFloat32 ? "F32"
                      : dense.scalar_type() == torch::kInt64 ? "I64"
                                                             : "U8";
  return {dtype, dense.sizes().vec(), {data, data + dense.nbytes()}};
}

// A tensor's value from a checkpoint; its shape and type must be those that the run expects.
void FromBlob(const Checkpoint& checkpoint, const std::string& name, torch::Tensor tensor) {
  const auto found = checkpoint.blobs.find(name);
  const Blob expected = ToBlob(tensor);
  if (found == checkpoint.blobs.end() || found->second.dtype != expected.dtype ||
      found->second.shape != expected.shape) {
    throw std::runtime_error("tensor " + name + " is missing or has another shape");
  }
  torch::Tensor dense = torch::empty(tensor.sizes(), tensor.options(), at::MemoryFormat::Contiguous);
  std::memcpy(dense.data_ptr(), found->second.bytes.data(), found->second.bytes.size());
  const torch::NoGradGuard no_grad;
  tensor.copy_(dense);
}

// What must agree for a checkpoint to be continued, by the name that a message can use.
std::map<std::string, std::string> Fingerprint(const RunSettings& run) {
  const MethodCase& method = run.method;
  const std::string line = method.none ? "none" : PrintSpec(method.spec, SpecForm::kFull) + "@" + Print(method.p);
  return {{"format", kFormat},
          {"task", run.task->name},
          {"method", line},
          {"seed", std::to_string(run.seed)},
          {"epochs", std::to_string(run.epochs)},
          {"train-size", std::to_string(run.train_size)},
          {"test-size", std::to_string(run.test_size)},
          {"threads", std::to_string(run.threads)},
          {"data checksum", std::to_string(run.data_checksum)}};
}

bool Continues(const RunSettings& run) { return run.resume && std::filesystem::exists(run.checkpoint); }

// The run's checkpoint, which must be of this very run.
Checkpoint ReadOwnCheckpoint(const RunSettings& run) {
  Checkpoint checkpoint = ReadCheckpoint(run.checkpoint);
  for (const auto& [name, value] : Fingerprint(run)) {
    const auto found = checkpoint.texts.find(name);
    const std::string other = found == checkpoint.texts.end() ? "nothing" : found->second;
    if (other == value) continue;
    throw std::runtime_error("checkpoint " + run.checkpoint + ": made with " + name + " " + other +
                             ", and this run has " + value + "; ask for the same, or run without --resume");
  }
  return checkpoint;
}

// One run from its first step to its last; everything that a checkpoint holds is a member.
class Run {
 public:
  Run(const RunSettings& settings, const Examples& examples, Progress& progress);
  RunResult Finish();
  std::optional<RunSamples> Samples(const std::vector<std::string>& class_names);  // of a run that is finished

 private:
  void MakeOptimizer();
  void TrainEpoch();
  void AddToCurve();
  double TrainAccuracy() const;
  double TrainStep(const torch::Tensor& x, const torch::Tensor& labels);
  void SetLearningRate();
  RunResult Measure();
  std::string WeightsHash() const;

  Named Weights() const;
  torch::Tensor Momentum(const torch::Tensor& parameter);
  void Save(const RunResult* result);
  void Load();
  void Restore(const Checkpoint& checkpoint);

  const RunSettings& settings_;
  const Examples& examples_;
  Progress& progress_;
  Network network_;
  std::unique_ptr<torch::optim::SGD> optimizer_;
  std::optional<nn::LinearSchedule> schedule_;
  int64_t steps_per_epoch_, total_steps_;
  int epoch_ = 0;
  int64_t step_ = 0;
  int64_t correct_ = 0;
  double seconds_ = 0;
  std::vector<EpochPoint> curve_;
  std::optional<RunResult> result_;
};

Run::Run(const RunSettings& settings, const Examples& examples, Progress& progress)
    : settings_(settings),
      examples_(examples),
      progress_(progress),
      network_(settings.method, NetworkShape{examples.train.channels, examples.classes, settings.task->stem_stride}),
      steps_per_epoch_(settings.train_size / kBatch),
      total_steps_(steps_per_epoch_ * settings.epochs) {
  network_->Initialise(DeriveSeed(settings.seed, Stream::kWeights));
  MakeOptimizer();
  if (!network_->scheduled().empty()) schedule_.emplace(network_->scheduled(), std::max<int64_t>(total_steps_, 1));
  torch::manual_seed(DeriveSeed(settings.seed, Stream::kKeys));
  progress_.Begin(settings.task->name + " " + settings.method.name + " seed " + std::to_string(settings.seed),
                  settings.epochs);
  if (Continues(settings)) Load();
}

void Run::MakeOptimizer() {
  const auto options = torch::optim::SGDOptions(kLearningRate).momentum(kMomentum).nesterov(true);
  std::vector<torch::Tensor> decayed, others;
  for (const torch::Tensor& parameter : network_->parameters()) {
    (settings_.task->decay_all || parameter.dim() > 1 ? decayed : others).push_back(parameter);
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(
      decayed, std::make_unique<torch::optim::SGDOptions>(torch::optim::SGDOptions(options).weight_decay(kDecay)));
  if (!others.empty()) groups.emplace_back(others, std::make_unique<torch::optim::SGDOptions>(options));
  optimizer_ = std::make_unique<torch::optim::SGD>(std::move(groups), options);
}

void Run::SetLearningRate() {
  const double total = static_cast<double>(total_steps_), step = static_cast<double>(step_);
  const double warm_up = (step + 1) / (total / 10), cosine = 0.5 * (1 + std::cos(std::numbers::pi * step / total));
  for (auto& group : optimizer_->param_groups()) group.options().set_lr(kLearningRate * std::min(warm_up, cosine));
}

double Run::TrainStep(const torch::Tensor& x, const torch::Tensor& labels) {
  SetLearningRate();
  optimizer_->zero_grad();
  const torch::Tensor scores = network_->forward(x);
  const torch::Tensor loss = torch::nn::functional::cross_entropy(scores, labels);
  loss.backward();
  optimizer_->step();
  if (schedule_) schedule_->step();
  ++step_;
  correct_ += CountCorrect(scores.detach(), labels);
  return loss.item<double>();
}

void Run::TrainEpoch() {
  const auto start = std::chrono::steady_clock::now();
  network_->train();
  const auto order = Random(settings_.seed, Stream::kOrder, epoch_).Permutation(settings_.train_size);
  correct_ = 0;
  for (int64_t i = 0; i < steps_per_epoch_; ++i) {
    const int64_t* chosen = order.data() + i * kBatch;
    const double loss =
        TrainStep(InputBatch(examples_.train, chosen, kBatch, nullptr), LabelBatch(examples_.train, chosen, kBatch));
    if (!std::isfinite(loss)) {
      throw std::runtime_error("the loss is " + std::to_string(loss) + " in epoch " + std::to_string(epoch_ + 1));
    }
    progress_.Step(epoch_, static_cast<double>(i + 1) / static_cast<double>(steps_per_epoch_));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  seconds_ += seconds;
  progress_.Epoch(epoch_, TrainAccuracy(), seconds);
  ++epoch_;
  AddToCurve();
}

double Run::TrainAccuracy() const {
  return 100.0 * static_cast<double>(correct_) / static_cast<double>(steps_per_epoch_ * kBatch);
}

// In eval mode a network draws nothing and changes nothing of itself: training goes on as if this had not been.
void Run::AddToCurve() {
  const torch::NoGradGuard no_grad;
  network_->eval();
  const int64_t count = std::min(kCurveImages, examples_.test.count);
  curve_.push_back({TrainAccuracy(), TestAccuracy(network_, examples_.test, nullptr, count)});
}

RunResult Run::Finish() {
  if (result_) {
    if (result_->commit != Commit()) {
      progress_.Say(settings_.checkpoint + ": finished by the program of commit " + result_->commit + ", this is " +
                    Commit());
    }
    return *result_;
  }
  while (epoch_ < settings_.epochs) {
    TrainEpoch();
    Save(nullptr);
  }
  const RunResult result = Measure();
  Save(&result);
  return result;
}

std::optional<RunSamples> Run::Samples(const std::vector<std::string>& class_names) {
  try {
    return MakeSamples(settings_, examples_, class_names, network_);
  } catch (const c10::Error& error) {
    progress_.Say(settings_.method.name + ": no sample images in the report: " + error.what_without_backtrace());
  } catch (const std::runtime_error& error) {
    progress_.Say(settings_.method.name + ": no sample images in the report: " + error.what());
  }
  return std::nullopt;
}

RunResult Run::Measure() {
  const torch::NoGradGuard no_grad;
  network_->eval();
  RunResult result;
  result.task = settings_.task->name;
  result.method = settings_.method.name;
  if (!settings_.method.none) {
    result.spec = PrintSpec(settings_.method.spec, SpecForm::kFull);
    result.p = std::stod(Print(settings_.method.p));  // 0.1, not the double nearest to the float
  }
  result.seed = settings_.seed;
  result.epochs = settings_.epochs;
  const int64_t tested = examples_.test.count;
  result.train = TrainAccuracy();
  result.clean = TestAccuracy(network_, examples_.test, nullptr, tested);
  for (size_t i = 0; i < settings_.task->erased.size(); ++i) {
    result.erased[settings_.task->erased[i]] = TestAccuracy(network_, examples_.test, &examples_.erased[i], tested);
  }
  if (settings_.task->clutter) result.locmax = Localise(network_, examples_).percent;
  result.sec_per_epoch = epoch_ > 0 ? seconds_ / epoch_ : 0;
  if (static_cast<int>(curve_.size()) == epoch_) result.curve = curve_;
  result.weights = WeightsHash();
  result.commit = Commit();
  return result;
}

Named Run::Weights() const {
  Named weights;
  for (const auto& item : network_->named_parameters()) weights.emplace_back(item.key(), item.value());
  for (const auto& item : network_->named_buffers()) weights.emplace_back(item.key(), item.value());
  return weights;
}

// FNV-1a, 64 bits, over names and values.
std::string Run::WeightsHash() const {
  uint64_t hash = 0xCBF29CE484222325u;
  const auto mix = [&](const auto& bytes) {
    for (const auto byte : bytes) hash = (hash ^ static_cast<uint8_t>(byte)) * 0x100000001B3u;
  };
  for (const auto& [name, tensor] : Weights()) {
    mix(name);
    mix(ToBlob(tensor).bytes);
  }
  std::ostringstream text;
  text << std::hex << std::setfill('0') << std::setw(16) << hash;
  return text.str();
}

// torch makes a momentum buffer in the first step; one of zeros continues alike.
torch::Tensor Run::Momentum(const torch::Tensor& parameter) {
  auto& states = optimizer_->state();
  auto& state = states[parameter.unsafeGetTensorImpl()];
  if (!state) state = std::make_unique<torch::optim::SGDParamState>();
  auto& momentum = static_cast<torch::optim::SGDParamState&>(*state);
  if (!momentum.momentum_buffer().defined()) momentum.momentum_buffer(torch::zeros_like(parameter));
  return momentum.momentum_buffer();
}

void Run::Save(const RunResult* result) {
  if (settings_.checkpoint.empty()) return;
  Checkpoint checkpoint;
  checkpoint.texts = Fingerprint(settings_);
  nlohmann::json state = {
      {"epoch", epoch_}, {"step", step_}, {"correct", correct_}, {"seconds", seconds_}, {"curve", ToJson(curve_)}};
  if (result != nullptr) state["result"] = ToJson(*result);
  checkpoint.texts["state"] = state.dump();
  for (const auto& [name, tensor] : Weights()) checkpoint.blobs["model." + name] = ToBlob(tensor);
  for (const auto& item : network_->named_parameters()) {
    checkpoint.blobs["momentum." + item.key()] = ToBlob(Momentum(item.value()));
  }
  checkpoint.blobs["generator"] = ToBlob(at::detail::getDefaultCPUGenerator().get_state());
  if (schedule_) {
    std::ostringstream stream;
    torch::save(*schedule_, stream);
    const std::string bytes = stream.str();
    checkpoint.blobs["schedule"] = {"U8", {static_cast<int64_t>(bytes.size())}, {bytes.begin(), bytes.end()}};
  }
  WriteCheckpoint(settings_.checkpoint, checkpoint);
}

void Run::Restore(const Checkpoint& checkpoint) {
  const auto state = nlohmann::json::parse(checkpoint.texts.at("state"));
  epoch_ = state.at("epoch");
  step_ = state.at("step");
  correct_ = state.at("correct");
  seconds_ = state.at("seconds");
  // A checkpoint of before curves were kept goes on without the epochs that it has, and its run has no curve.
  if (state.contains("curve")) curve_ = CurveFromJson(state.at("curve"));
  if (state.contains("result")) result_ = FromJson(state.at("result"));
  for (const auto& [name, tensor] : Weights()) FromBlob(checkpoint, "model." + name, tensor);
  for (const auto& item : network_->named_parameters()) {
    FromBlob(checkpoint, "momentum." + item.key(), Momentum(item.value()));
  }
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  torch::Tensor generator_state = generator.get_state();
  FromBlob(checkpoint, "generator", generator_state);
  generator.set_state(generator_state);
  if (schedule_) {
    const std::vector<uint8_t>& bytes = checkpoint.blobs.at("schedule").bytes;
    std::istringstream stream(std::string(bytes.begin(), bytes.end()));
    torch::load(*schedule_, stream);
  }
}

void Run::Load() {
  const Checkpoint checkpoint = ReadOwnCheckpoint(settings_);
  try {
    Restore(checkpoint);
  } catch (const std::exception& error) {
    throw std::runtime_error("checkpoint " + settings_.checkpoint + ": " + error.what());
  }
  progress_.Skip(epoch_);
}

}  // namespace

int UseThreads(int threads) {
  if (threads > 0) torch::set_num_threads(threads);
  return torch::get_num_threads();
}

void CheckCheckpoint(const RunSettings& run) {
  if (Continues(run)) ReadOwnCheckpoint(run);
}

TrainedRun Train(const RunSettings& settings, const Examples& examples, const std::vector<std::string>* class_names,
                 Progress& progress) {
  try {
    Run run(settings, examples, progress);
    TrainedRun trained{run.Finish(), std::nullopt};
    if (class_names != nullptr) trained.samples = run.Samples(*class_names);
    return trained;
  } catch (const c10::Error& error) {  // what() would add a stack trace
    throw std::runtime_error(error.what_without_backtrace());
  }
}

}  // namespace dropkit::cli
