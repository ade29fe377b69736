// The network of every task: a ResNet of four basic blocks (42,938 parameters for grey images of ten classes), with the
// places where a method may drop; what goes into it, and how well it does.
// Of images it assumes 1 channel or 3. The files that include torch, this one, trainer.cc and samples.cc, take half a
// minute each to compile.
#ifndef DROPKIT_CLI_TRAIN_NETWORK_H_
#define DROPKIT_CLI_TRAIN_NETWORK_H_

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/train/trainer.h"
#include "dropkit/nn.h"

namespace dropkit::cli {

// What the network is made for.
struct NetworkShape {
  int64_t channels;
  int classes;
  int stem_stride;
};

// A place where a network's method acts, and what it acts on there.
struct Site {
  std::string title;     // "stage 1", "branch of block 1", "input", "last layer's weights"
  torch::Tensor values;  // before anything is dropped: [1, C, H, W], or a weight
  double p;              // once the schedule, if any, is at its end
};

class NetworkImpl : public torch::nn::Module {
 public:
  NetworkImpl(const MethodCase& method, const NetworkShape& shape);
  torch::Tensor forward(torch::Tensor x);
  torch::Tensor Maps(torch::Tensor x);  // what the head averages, N x 32 x 7 x 7
  torch::Tensor HeadWeight() const;     // classes x 32
  // Where the method acts on one image, x[1, C, H, W], in eval mode: of dropout's, spatial_dropout's and dropblock's
  // twelve sites one of each stage, in the order of the network. With none, which acts nowhere, the same two.
  std::vector<Site> Sites(const torch::Tensor& x);
  // torch's default initial values, drawn from a generator of their own: the same for every method.
  void Initialise(uint64_t seed);
  // The layers whose p follows the schedule.
  const std::vector<std::shared_ptr<nn::Layer>>& scheduled() const { return scheduled_; }

 private:
  MethodCase method_;
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

// In per cent, of a network in eval mode, without gradients; of the first `count` images.
double TestAccuracy(Network& network, const Images& images, const std::vector<Box>* erased, int64_t count);

// The activation maps of the given classes, resized to the scene and scaled to a maximum of 1: N x 1 x side x side.
torch::Tensor ActivationMaps(Network& network, const torch::Tensor& x, const torch::Tensor& classes);

struct Localised {
  double percent;  // of the scenes whose item is found
  float level;
};
// Finds the items of scenes by the true class's activation map: the box around what exceeds a level must overlap the
// item's box by half. The level is the best of six on these very scenes, one for all, so the figure flatters every
// method alike.
Localised Localise(Network& network, const Examples& examples);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_NETWORK_H_
