// The training tasks: their settings, and the examples of one run.
// `fashion` trains on plain grey 28x28 images, `scenes` on cluttered 56x56 scenes made from them (scenes.h), `cifar` on
// plain colour 32x32 images. Everything
// random comes from a generator of its own derived from the run's seed, so that runs of different methods are paired:
// same subset, scenes, initial weights, batch order and erased squares. The layers' own keys are torch's (trainer.cc).
#ifndef DROPKIT_CLI_TRAIN_TASK_H_
#define DROPKIT_CLI_TRAIN_TASK_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "cli/train/data.h"

namespace dropkit::cli {

inline constexpr int kItemSide = 28;  // the images of which scenes are made
inline constexpr int kBatch = 64;

struct Task {
  std::string name;
  int side, channels;  // of the images that it is defined for
  std::string data;    // directory; empty: must be given
  bool clutter;        // scenes, not plain images
  int stem_stride;     // of the network's first convolution: 14x14 maps after the stem, in cifar 16x16
  int epochs;
  int64_t train_size, test_size;
  std::vector<int> erased;  // sides of the squares erased from the test images
  bool decay_all;           // weight decay on every parameter, not on weights alone
  std::vector<std::string> methods;
};

const std::vector<Task>& Tasks();

// What a generator is for. The numbers are part of every figure that was ever reported: they never change.
enum class Stream : uint64_t {
  kSubset = 1,
  kWeights = 2,
  kOrder = 3,
  kSquares = 4,
  kScenes = 5,
  kKeys = 6,
  kTestScenes = 7
};
// Seeds of different streams, runs and indices are unrelated.
uint64_t DeriveSeed(uint64_t seed, Stream stream, uint64_t index = 0);

// Numbers that are the same with every standard library: its distributions are not pinned, its engine is.
class Random {
 public:
  Random(uint64_t seed, Stream stream, uint64_t index = 0) : engine_(DeriveSeed(seed, stream, index)) {}
  int64_t Below(int64_t bound);  // uniform in [0, bound), bound >= 1
  std::vector<int64_t> Permutation(int64_t count);

 private:
  std::mt19937_64 engine_;
};

// What normalises a channel: the mean and deviation over a training set's pixels, so that an erased pixel is the mean,
// 0. Grey images have Fashion-MNIST's, colour images CIFAR-10's, from which CIFAR-100's differ by at most 0.03.
struct Pixels {
  float mean, deviation;
};
std::vector<Pixels> PixelsOf(int64_t channels);  // 1 or 3

// What erasing a square does, in words: "a KxK square of the item set to the mean grey".
std::string ErasedWords(const Task& task);

struct Box {
  int top, left, bottom, right;  // half open
};

struct Examples {
  Images train, test;
  int classes = 0;
  std::vector<std::vector<Box>> erased;  // [square of Task::erased][test image]
  std::vector<Box> items;                // scenes: the labelled item's tight box in each test scene
};

// Throws std::runtime_error unless the images are what the task is defined for, and then names the task that takes
// them, if any; std::invalid_argument, which names the option, unless there are so many.
void CheckData(const Task& task, const Dataset& dataset, int64_t train_size, int64_t test_size);
// The examples of a run. The data must have passed CheckData.
Examples MakeExamples(const Task& task, const Dataset& dataset, uint64_t seed, int64_t train_size, int64_t test_size);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_TASK_H_
