// Makes the scenes of task `scenes`, pure C++ on bytes. The order of the random draws is part of the task.
#include "cli/train/scenes.h"

#include <algorithm>
#include <cstring>

namespace dropkit::cli {
namespace {

constexpr int kPatches = 14;
constexpr int kPatchSide = 10;
constexpr int kCropMargin = 4;  // patches come from the middle of an image, where there is something to see

void PastePatch(const Images& clutter, Random& random, uint8_t* scene) {
  const uint8_t* source = clutter.image(random.Below(clutter.count));
  const int crops = kItemSide - kPatchSide - 2 * kCropMargin + 1, places = kSceneSide - kPatchSide + 1;
  const auto crop_row = kCropMargin + random.Below(crops), crop_col = kCropMargin + random.Below(crops);
  const auto row = random.Below(places), col = random.Below(places);
  for (int i = 0; i < kPatchSide; ++i) {
    std::memcpy(scene + (row + i) * kSceneSide + col, source + (crop_row + i) * kItemSide + crop_col, kPatchSide);
  }
}

// Only non-zero pixels, so that the clutter shows around the item. Returns the box they fill.
Box PasteItem(const uint8_t* item, Place place, uint8_t* scene) {
  Box box{kSceneSide, kSceneSide, 0, 0};
  for (int i = 0; i < kItemSide * kItemSide; ++i) {
    if (item[i] == 0) continue;
    const int row = place.row + i / kItemSide, col = place.col + i % kItemSide;
    scene[row * kSceneSide + col] = item[i];
    box = {std::min(box.top, row), std::min(box.left, col), std::max(box.bottom, row + 1),
           std::max(box.right, col + 1)};
  }
  return box.bottom > 0 ? box : Box{place.row, place.col, place.row + kItemSide, place.col + kItemSide};
}

int Area(const Box& box) { return std::max(0, box.bottom - box.top) * std::max(0, box.right - box.left); }

}  // namespace

Scenes MakeScenes(const Images& items, const Images& clutter, Random random) {
  Scenes scenes;
  const int64_t scene_size = kSceneSide * kSceneSide;
  scenes.images = {items.count, kSceneSide, kSceneSide, 1, std::vector<uint8_t>(items.count * scene_size, 0),
                   items.labels};
  for (int64_t n = 0; n < items.count; ++n) {
    uint8_t* scene = scenes.images.pixels.data() + n * scene_size;
    for (int patch = 0; patch < kPatches; ++patch) PastePatch(clutter, random, scene);
    const int room = kSceneSide - kItemSide + 1;
    const int row = static_cast<int>(random.Below(room)), col = static_cast<int>(random.Below(room));
    scenes.places.push_back({row, col});
    scenes.boxes.push_back(PasteItem(items.image(n), {row, col}, scene));
  }
  return scenes;
}

double Overlap(const Box& a, const Box& b) {
  const int common = Area(
      {std::max(a.top, b.top), std::max(a.left, b.left), std::min(a.bottom, b.bottom), std::min(a.right, b.right)});
  const int all = Area(a) + Area(b) - common;
  return all > 0 ? static_cast<double>(common) / all : 0.0;
}

Box BoxAbove(const float* map, int side, float level) {
  Box box{side, side, 0, 0};
  for (int row = 0; row < side; ++row) {
    for (int col = 0; col < side; ++col) {
      if (!(map[row * side + col] > level)) continue;
      box = {std::min(box.top, row), std::min(box.left, col), std::max(box.bottom, row + 1),
             std::max(box.right, col + 1)};
    }
  }
  return box.bottom > 0 ? box : Box{0, 0, 0, 0};
}

}  // namespace dropkit::cli
