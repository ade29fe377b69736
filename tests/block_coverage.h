// Which positions of a block cover which cell of a map, by placing every block and marking every cell; and the exact
// probabilities that follow from it when positions fire independently.
//
// Meant to be slow and plain: the library counts coverage by classes of cells and solves for gamma by Newton's method,
// neither of which is used here. Sizes, blocks and `before` are those of docs/draws.md, section 7.
#ifndef DROPKIT_TESTS_BLOCK_COVERAGE_H_
#define DROPKIT_TESTS_BLOCK_COVERAGE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <vector>

namespace dropkit::statistics {

struct BlockAxis {
  int64_t size, block, positions, before;
};
inline BlockAxis ValidAxis(int64_t size, int64_t block) {
  block = std::min(block, size);
  return {size, block, size - block + 1, 0};
}
inline BlockAxis WholeAxis(int64_t size, int64_t block, bool longer_side_after = false) {
  block = std::min(block, size);
  return {size, block, size, longer_side_after ? (block - 1) / 2 : block / 2};
}
// cutout's square is not clipped to the map before it is placed.
inline BlockAxis CutoutAxis(int64_t size, int64_t block) { return {size, block, size, block / 2}; }

class BlockCoverage {
 public:
  explicit BlockCoverage(const std::vector<BlockAxis>& axes) {
    BlockAxis axis[3] = {{1, 1, 1, 0}, {1, 1, 1, 0}, {1, 1, 1, 0}};
    std::copy(axes.begin(), axes.end(), axis + 3 - axes.size());
    covering_.resize(axis[0].size * axis[1].size * axis[2].size);
    for (int64_t i = 0; i < axis[0].positions; ++i) {
      for (int64_t j = 0; j < axis[1].positions; ++j) {
        for (int64_t k = 0; k < axis[2].positions; ++k) Place(axis, i, j, k);
      }
    }
  }

  int64_t cells() const { return static_cast<int64_t>(covering_.size()); }
  int64_t positions() const { return positions_; }
  double Coverage(int64_t cell) const { return static_cast<double>(covering_[cell].size()); }
  double Union(int64_t cell, int64_t other) const {
    std::vector<int64_t> both;
    std::set_union(covering_[cell].begin(), covering_[cell].end(), covering_[other].begin(), covering_[other].end(),
                   std::back_inserter(both));
    return static_cast<double>(both.size());
  }

  double ExpectedDrop(double gamma) const {
    double kept = 0.0;
    for (int64_t cell = 0; cell < cells(); ++cell) kept += std::pow(1.0 - gamma, Coverage(cell));
    return 1.0 - kept / static_cast<double>(cells());
  }
  // By bisection.
  double GammaFor(double drop) const {
    double low = 0.0, high = 1.0;
    for (int step = 0; step < 60; ++step) {
      const double middle = (low + high) / 2.0;
      (ExpectedDrop(middle) < drop ? low : high) = middle;
    }
    return low;
  }

 private:
  void Place(const BlockAxis axis[3], int64_t i, int64_t j, int64_t k) {
    const int64_t corner[3] = {i - axis[0].before, j - axis[1].before, k - axis[2].before};
    for (int64_t a = corner[0]; a < corner[0] + axis[0].block; ++a) {
      for (int64_t b = corner[1]; b < corner[1] + axis[1].block; ++b) {
        for (int64_t c = corner[2]; c < corner[2] + axis[2].block; ++c) {
          const bool inside = a >= 0 && a < axis[0].size && b >= 0 && b < axis[1].size && c >= 0 && c < axis[2].size;
          if (inside) covering_[(a * axis[1].size + b) * axis[2].size + c].push_back(positions_);
        }
      }
    }
    ++positions_;
  }

  std::vector<std::vector<int64_t>> covering_;  // of each cell, the numbers of its positions, ascending
  int64_t positions_ = 0;
};

}  // namespace dropkit::statistics

#endif  // DROPKIT_TESTS_BLOCK_COVERAGE_H_
