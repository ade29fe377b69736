// Trains a small network with DropBlock to tell which half of a noisy picture is brighter. Prints the mean loss of the
// first and of the last ten steps, and the share of elements that its DropBlock layer drops.
#include <torch/nn/functional/loss.h>
#include <torch/nn/modules/activation.h>
#include <torch/nn/modules/container/sequential.h>
#include <torch/nn/modules/conv.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/sgd.h>

#include <cstdio>

#include "dropkit/nn.h"

namespace {

constexpr int kSteps = 60, kAveraged = 10, kBatch = 64;

// One step on new pictures; the loss.
double Step(torch::nn::Sequential& net, torch::optim::Optimizer& optimizer) {
  const torch::Tensor label = torch::randint(0, 2, {kBatch}, torch::kLong);
  torch::Tensor x = torch::randn({kBatch, 1, 16, 16});
  x.narrow(3, 0, 8).add_(label.to(torch::kFloat).view({kBatch, 1, 1, 1}), 1.0);
  optimizer.zero_grad();
  const torch::Tensor loss = torch::nn::functional::cross_entropy(net->forward(x), label);
  loss.backward();
  optimizer.step();
  return loss.item<double>();
}

double DroppedShare() {
  dropkit::nn::DropBlock2d drop(0.25, 3, "rate=calibrated");
  const torch::Tensor y = drop(torch::ones({64, 8, 16, 16}));
  return y.eq(0).to(torch::kFloat).mean().item<double>();
}

}  // namespace

int main() {
  torch::manual_seed(1);
  torch::nn::Sequential net(torch::nn::Conv2d(torch::nn::Conv2dOptions(1, 8, 3).padding(1)), torch::nn::ReLU(),
                            dropkit::nn::DropBlock2d(0.1, 3), torch::nn::Flatten(), torch::nn::Linear(8 * 16 * 16, 2));
  torch::optim::SGD optimizer(net->parameters(), 0.05);
  double first = 0, last = 0;
  for (int i = 0; i < kSteps; ++i) {
    const double loss = Step(net, optimizer);
    if (i < kAveraged) first += loss / kAveraged;
    if (i >= kSteps - kAveraged) last += loss / kAveraged;
  }
  std::printf("first %.4f last %.4f dropped %.4f\n", first, last, DroppedShare());
}
