// The network of both tasks: a ResNet of four basic blocks, 42,938 parameters, with the places where a method may drop;
// what goes into it, and how well it does.
// Assumes one input channel and maps of 14x14 after the stem. One of two files that include torch (trainer.cc is the
// other): they take half a minute each to compile.
#ifndef DROPKIT_CLI_TRAIN_NETWORK_H_
#define DROPKIT_CLI_TRAIN_NETWORK_H_

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cli/train/trainer.h"
#include "dropkit/nn.h"

namespace dropkit::cli {

class NetworkImpl : public torch::nn::Module {
 public:
  NetworkImpl(const MethodCase& method, int stem_stride);
  torch::Tensor forward(torch::Tensor x);
  torch::Tensor Maps(torch::Tensor x);  // what the head averages, N x 32 x 7 x 7
  torch::Tensor HeadWeight() const;     // classes x 32
  // torch's default initial values, drawn from a generator of their own: the same for every method.
  void Initialise(uint64_t seed);
  // The layers whose p follows the schedule.
  const std::vector<std::shared_ptr<nn::Layer>>& scheduled() const { return scheduled_; }

 private:
  torch::nn::Sequential stem_, blocks_;
  nn::Drop input_drop_ = nullptr;
  torch::nn::Linear head_ = nullptr;
  nn::DropConnectLinear drop_connect_ = nullptr;
  std::vector<std::shared_ptr<nn::Layer>> scheduled_;
};
TORCH_MODULE(Network);

// Normalised f32 images, channels last; with a square, if any, erased from each: set to the mean, 0.
torch::Tensor InputBatch(const Images& images, const int64_t* chosen, int64_t count, const std::vector<Box>* erased);
torch::Tensor LabelBatch(const Images& images, const int64_t* chosen, int64_t count);
int64_t CountCorrect(const torch::Tensor& scores, const torch::Tensor& labels);

// In per cent, of a network in eval mode, without gradients.
double TestAccuracy(Network& network, const Images& images, const std::vector<Box>* erased);
// Share of scenes whose item the true class's activation map finds: the map is resized to the scene and scaled to a
// maximum of 1, and the box around what exceeds a level must overlap the item's box by half. The level is the best of
// six on these very scenes, one for all, so the figure flatters every method alike.
double Localisation(Network& network, const Examples& examples);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_NETWORK_H_
