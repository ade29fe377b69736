// The tasks' settings and the examples of a run. Scenes themselves are made in scenes.cc.
#include "cli/train/task.h"

#include <numeric>
#include <stdexcept>
#include <utility>

#include "cli/train/cifar.h"
#include "cli/train/scenes.h"

namespace dropkit::cli {
namespace {

std::vector<std::string> MethodsWith(int cutout, const std::string& last) {
  std::vector<std::string> methods = {"none",
                                      "dropout@0.1",
                                      "spatial_dropout@0.1",
                                      "drop_path@0.2",
                                      "dropblock:block=7@0.1",
                                      "cutout:size=" + std::to_string(cutout) + ",region=valid@1",
                                      "drop_connect@0.5"};
  if (!last.empty()) methods.push_back(last);
  return methods;
}

Images Select(const Images& images, const std::vector<int64_t>& chosen) {
  Images result{static_cast<int64_t>(chosen.size()), images.rows, images.cols, images.channels, {}, {}};
  result.pixels.reserve(chosen.size() * images.image_size());
  for (const int64_t i : chosen) {
    result.pixels.insert(result.pixels.end(), images.image(i), images.image(i) + images.image_size());
    result.labels.push_back(images.labels[i]);
  }
  return result;
}

std::vector<int64_t> First(std::vector<int64_t> values, int64_t count) {
  values.resize(count);
  return values;
}

// Squares at a random place wholly inside the item, which is the whole image where there is no clutter.
std::vector<Box> ErasedSquares(const std::vector<Place>& places, int item_side, int side, uint64_t seed) {
  Random random(seed, Stream::kSquares, side);
  std::vector<Box> squares;
  for (const Place& place : places) {
    const int top = place.row + static_cast<int>(random.Below(item_side - side + 1));
    const int left = place.col + static_cast<int>(random.Below(item_side - side + 1));
    squares.push_back({top, left, top + side, left + side});
  }
  return squares;
}

void CheckCount(const std::string& option, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return;
  throw std::invalid_argument(option + " " + std::to_string(value) + ": from " + std::to_string(low) + " to " +
                              std::to_string(high) + " are allowed with these data");
}

bool Takes(const Task& task, const Images& images) {
  return images.channels == task.channels && images.rows == task.side && images.cols == task.side;
}

std::string KindOf(const Images& images) { return Kind(images.channels, images.rows, images.cols); }

std::string TasksFor(const Images& images) {
  std::string names;
  for (const Task& task : Tasks()) {
    if (Takes(task, images)) names += (names.empty() ? "--task " : " and --task ") + task.name;
  }
  return names.empty() ? "no task" : names;
}

}  // namespace

const std::vector<Task>& Tasks() {
  static const std::vector<Task> tasks = {
      {"scenes", kItemSide, 1, kDefaultData, true, 2, 20, 3000, 3000, {10, 14}, true, MethodsWith(20, "none-10")},
      {"fashion", kItemSide, 1, kDefaultData, false, 1, 30, 2000, 10000, {6, 10, 14}, false, MethodsWith(10, "")},
      {"cifar", kCifarSide, kCifarChannels, "", false, 1, 30, 5000, 10000, {8, 12, 16}, false, MethodsWith(12, "")}};
  return tasks;
}

std::vector<Pixels> PixelsOf(int64_t channels) {
  if (channels == 1) return {{0.286f, 0.353f}};
  return {{0.4914f, 0.2470f}, {0.4822f, 0.2435f}, {0.4465f, 0.2616f}};
}

std::string ErasedWords(const Task& task) {
  return std::string("a KxK square of the ") + (task.clutter ? "item" : "image") + " set to the mean " +
         (task.channels == 1 ? "grey" : "colour");
}

uint64_t DeriveSeed(uint64_t seed, Stream stream, uint64_t index) {
  // SplitMix64's finalizer over a chain: each part changes every bit of the result.
  uint64_t state = 0;
  for (const uint64_t part : {seed, static_cast<uint64_t>(stream), index}) {
    state += part + 0x9E3779B97F4A7C15u;
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9u;
    state = (state ^ (state >> 27)) * 0x94D049BB133111EBu;
    state ^= state >> 31;
  }
  return state;
}

int64_t Random::Below(int64_t bound) {
  const auto range = static_cast<uint64_t>(bound);
  const uint64_t excess = (UINT64_MAX % range + 1) % range;  // 2^64 mod bound: values that would favour small numbers
  uint64_t value;
  do {
    value = engine_();
  } while (value > UINT64_MAX - excess);
  return static_cast<int64_t>(value % range);
}

std::vector<int64_t> Random::Permutation(int64_t count) {
  std::vector<int64_t> order(count);
  std::iota(order.begin(), order.end(), int64_t{0});
  for (int64_t i = count - 1; i > 0; --i) std::swap(order[i], order[Below(i + 1)]);
  return order;
}

void CheckData(const Task& task, const Dataset& dataset, int64_t train_size, int64_t test_size) {
  if (!Takes(task, dataset.train)) {
    throw std::runtime_error("--data " + dataset.directory + ": " + KindOf(dataset.train) + " images; task " +
                             task.name + " is defined for " + Kind(task.channels, task.side, task.side) +
                             ", and these are taken by " + TasksFor(dataset.train));
  }
  if (dataset.classes < 2)
    throw std::runtime_error("--data " + dataset.directory +
                             ": all training labels are 0; at least 2 classes are needed");
  CheckCount("--train-size", train_size, kBatch, dataset.train.count);
  CheckCount("--test-size", test_size, 1, dataset.test.count);
}

Examples MakeExamples(const Task& task, const Dataset& dataset, uint64_t seed, int64_t train_size, int64_t test_size) {
  const auto chosen = First(Random(seed, Stream::kSubset).Permutation(dataset.train.count), train_size);
  std::vector<int64_t> tested(test_size);
  std::iota(tested.begin(), tested.end(), int64_t{0});
  Examples examples;
  examples.classes = dataset.classes;
  std::vector<Place> places(test_size, Place{0, 0});
  examples.train = Select(dataset.train, chosen);
  examples.test = Select(dataset.test, tested);
  if (task.clutter) {
    examples.train = MakeScenes(examples.train, dataset.train, Random(seed, Stream::kScenes)).images;
    Scenes test = MakeScenes(examples.test, dataset.train, Random(0, Stream::kTestScenes));  // the same for all seeds
    examples.test = std::move(test.images);
    examples.items = std::move(test.boxes);
    places = std::move(test.places);
  }
  for (const int side : task.erased) examples.erased.push_back(ErasedSquares(places, task.side, side, seed));
  return examples;
}

}  // namespace dropkit::cli
