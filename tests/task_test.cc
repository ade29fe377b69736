// What fixes the training runs' data: derived seeds, permutations, scenes and erased squares. The numbers here are part
// of every figure that was reported; an independent script gave them.
#include "cli/train/task.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "cli/train/scenes.h"

namespace dropkit::cli {
namespace {

TEST(TaskTest, DerivedSeedsArePinned) {
  EXPECT_EQ(DeriveSeed(0, Stream::kSubset), 0x94926c2e801cb6f9u);
  EXPECT_EQ(DeriveSeed(0, Stream::kWeights), 0x1fd1ea3fc07376a7u);
  EXPECT_EQ(DeriveSeed(1, Stream::kSubset), 0xd5159b73432a2795u);
  EXPECT_EQ(DeriveSeed(2, Stream::kSquares, 10), 0x35625d78b9a1d49bu);
  EXPECT_EQ(DeriveSeed(UINT64_MAX, Stream::kTestScenes), 0x21fc44cf1ce11025u);
}

TEST(TaskTest, PermutationsArePinned) {
  EXPECT_EQ(Random(0, Stream::kSubset).Permutation(10), (std::vector<int64_t>{1, 8, 9, 7, 0, 3, 5, 6, 2, 4}));
  EXPECT_EQ(Random(5, Stream::kOrder).Permutation(10), (std::vector<int64_t>{8, 0, 6, 5, 7, 2, 4, 1, 9, 3}));
}

TEST(TaskTest, BelowIsUniform) {
  Random random(3, Stream::kOrder);
  std::vector<int> counts(7);
  for (int i = 0; i < 70000; ++i) ++counts.at(random.Below(7));
  for (const int count : counts) EXPECT_NEAR(count, 10000, 400);  // over 4 standard deviations of 93
}

// Items of one bright pixel value a label, so that what comes from where can be told.
Images Items(int64_t count, uint8_t value, int side = kItemSide, int channels = 1) {
  Images images{count, side, side, channels, std::vector<uint8_t>(count * side * side * channels, 0), {}};
  for (int64_t i = 0; i < count; ++i) {
    images.labels.push_back(static_cast<uint8_t>(i % 10));
    for (int row = 5; row < 25; ++row) {
      uint8_t* line = images.pixels.data() + ((i * side + row) * side) * channels;
      std::fill(line + 6 * channels, line + 20 * channels, value);
    }
  }
  return images;
}

Dataset DataFor(const Task& task) {
  return {Items(300, 255, task.side, task.channels), Items(200, 255, task.side, task.channels), 10, {}, "a/directory"};
}

TEST(TaskTest, ScenesHoldTheItemWholeOverClutter) {
  const Images items = Items(400, 255), clutter = Items(50, 100);
  const Scenes scenes = MakeScenes(items, clutter, Random(1, Stream::kScenes));
  ASSERT_EQ(scenes.images.count, 400);
  ASSERT_EQ(scenes.images.rows, kSceneSide);
  std::set<int> rows, cols;
  for (int64_t i = 0; i < 400; ++i) {
    const Place place = scenes.places[i];
    const Box box = scenes.boxes[i];
    rows.insert(place.row);
    cols.insert(place.col);
    EXPECT_EQ(box.top, place.row + 5);
    EXPECT_EQ(box.left, place.col + 6);
    EXPECT_EQ(box.bottom, place.row + 25);
    EXPECT_EQ(box.right, place.col + 20);
    int64_t bright = 0, cluttered = 0;
    for (int64_t pixel = 0; pixel < scenes.images.image_size(); ++pixel) {
      const uint8_t value = scenes.images.image(i)[pixel];
      ASSERT_TRUE(value == 0 || value == 100 || value == 255);
      bright += value == 255;
      cluttered += value == 100;
    }
    EXPECT_EQ(bright, 20 * 14) << "the item's non-zero pixels, all on top";
    EXPECT_GT(cluttered, 0);
    EXPECT_LE(cluttered, 14 * 100) << "14 patches of 10x10";
    EXPECT_EQ(scenes.images.labels[i], items.labels[i]);
  }
  EXPECT_EQ(*rows.begin(), 0);
  EXPECT_EQ(*rows.rbegin(), kSceneSide - kItemSide);
  EXPECT_EQ(*cols.rbegin(), kSceneSide - kItemSide);
}

TEST(TaskTest, ErasedSquaresLieInTheItemAndRunsArePaired) {
  for (const Task& task : Tasks()) {
    const Dataset dataset = DataFor(task);
    const Examples one = MakeExamples(task, dataset, 7, 128, 200), same = MakeExamples(task, dataset, 7, 128, 200),
                   other = MakeExamples(task, dataset, 8, 128, 200);
    EXPECT_EQ(one.train.pixels, same.train.pixels);
    EXPECT_EQ(one.test.pixels, other.test.pixels) << "the test images are the same for all seeds";
    ASSERT_EQ(one.erased.size(), task.erased.size());
    for (size_t k = 0; k < task.erased.size(); ++k) {
      bool moved = false, reached = false;
      for (size_t i = 0; i < one.erased[k].size(); ++i) {
        const Box box = one.erased[k][i];
        EXPECT_EQ(box.bottom - box.top, task.erased[k]);
        EXPECT_EQ(box.right - box.left, task.erased[k]);
        // The item's pixels tell where it is.
        const Box item = task.clutter ? one.items[i] : Box{5, 6, 25, 20};
        EXPECT_GE(box.top, item.top - 5);
        EXPECT_GE(box.left, item.left - 6);
        EXPECT_LE(box.bottom, item.top - 5 + task.side);
        EXPECT_LE(box.right, item.left - 6 + task.side);
        reached = reached || box.bottom == item.top - 5 + task.side;
        moved = moved || box.top != other.erased[k][i].top;
      }
      EXPECT_TRUE(moved) << "another seed has other squares";
      EXPECT_TRUE(reached) << "squares reach the item's last row";
    }
  }
}

// The message of the error that a task gives for data; empty if it takes them.
std::string Refusal(const Task& task, const Dataset& dataset, int64_t train_size = 64, int64_t test_size = 1) {
  try {
    CheckData(task, dataset, train_size, test_size);
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

TEST(TaskTest, DataThatDoNotFitAreRefusedAndTheRightTaskIsNamed) {
  const Task &scenes = Tasks()[0], &fashion = Tasks()[1], &cifar = Tasks()[2];
  for (const Task& task : Tasks()) EXPECT_EQ(Refusal(task, DataFor(task)), "") << task.name;
  for (const Task* task : {&scenes, &fashion}) {
    EXPECT_EQ(Refusal(*task, DataFor(cifar)), "--data a/directory: colour 32x32 images; task " + task->name +
                                                  " is defined for grey 28x28, and these are taken by --task cifar");
  }
  EXPECT_EQ(Refusal(cifar, DataFor(scenes)),
            "--data a/directory: grey 28x28 images; task cifar is defined for colour 32x32, and these are taken by "
            "--task scenes and "
            "--task fashion");
  const Dataset grey{Items(300, 255, 32), Items(200, 255, 32), 10, {}, "a/directory"};
  EXPECT_NE(Refusal(cifar, grey).find("grey 32x32 images"), std::string::npos);
  EXPECT_NE(Refusal(cifar, grey).find("taken by no task"), std::string::npos);
  Dataset one_class = DataFor(cifar);
  one_class.classes = 1;
  EXPECT_NE(Refusal(cifar, one_class).find("at least 2 classes"), std::string::npos);
  EXPECT_NE(Refusal(cifar, DataFor(cifar), 301).find("--train-size 301: from 64 to 300"), std::string::npos);
  EXPECT_NE(Refusal(cifar, DataFor(cifar), 64, 201).find("--test-size 201: from 1 to 200"), std::string::npos);
}

TEST(TaskTest, OverlapAndBoxes) {
  EXPECT_EQ(Overlap({0, 0, 2, 2}, {0, 0, 2, 2}), 1.0);
  EXPECT_EQ(Overlap({0, 0, 2, 2}, {1, 1, 3, 3}), 1.0 / 7.0);
  EXPECT_EQ(Overlap({0, 0, 2, 2}, {2, 0, 4, 2}), 0.0);
  const float map[16] = {0, 0, 0, 0, 0, .6f, .7f, 0, 0, 0, .9f, 0, 0, 0, 0, 0};
  const Box box = BoxAbove(map, 4, .5f);
  EXPECT_EQ(box.top, 1);
  EXPECT_EQ(box.left, 1);
  EXPECT_EQ(box.bottom, 3);
  EXPECT_EQ(box.right, 3);
}

}  // namespace
}  // namespace dropkit::cli
