// Cluttered scenes: one labelled item on a black 56x56 canvas among patches cut from other images; and the measure of
// whether a class activation map finds the item.
// Assumes items of kItemSide x kItemSide pixels. Which items, and the erased squares, are task.cc's.
#ifndef DROPKIT_CLI_TRAIN_SCENES_H_
#define DROPKIT_CLI_TRAIN_SCENES_H_

#include <vector>

#include "cli/train/data.h"
#include "cli/train/task.h"

namespace dropkit::cli {

inline constexpr int kSceneSide = 56;

struct Place {
  int row, col;  // of the item's corner in its scene
};

struct Scenes {
  Images images;
  std::vector<Place> places;
  std::vector<Box> boxes;  // the smallest box around the item's non-zero pixels
};

// One scene per item, in order: 14 patches of 10x10 cut from random images of `clutter`, then the item on top.
Scenes MakeScenes(const Images& items, const Images& clutter, Random random);

// Intersection over union of two boxes.
double Overlap(const Box& a, const Box& b);
// The smallest box around the elements of a side x side map that exceed `level`; empty (all zero) if none does.
Box BoxAbove(const float* map, int side, float level);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_SCENES_H_
