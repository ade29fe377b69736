// From fired lanes to cleared bits of the mask, a task's part at a time.
//
// How a part is written depends on where the mask's bits lie: in lane order (elements, channels, samples); in blocks of
// planes that follow each other (channels first: a block is a pattern of words, shifted to its place); or with the
// channels innermost (channels last: elements are transposed 64 channels at a time, blocks grow from their first cells
// by ANDing the mask with itself shifted, all channels together).
#ifndef DROPKIT_SRC_CPU_SPREAD_H_
#define DROPKIT_SRC_CPU_SPREAD_H_

#include <cstdint>

#include "cpu/field.h"
#include "dropkit/dropkit.h"
#include "plan.h"

namespace dropkit::cpu {

// Quotients of numbers up to `largest` by a fixed divisor: one multiplication where both are below 2^32.
class Divider {
 public:
  explicit Divider(int64_t divisor = 1, int64_t largest = 0)
      : divisor_(divisor), magic_(divisor > 1 && (divisor | largest) >> 32 == 0 ? ~uint64_t{0} / divisor + 1 : 0) {}
  int64_t operator()(int64_t number) const {
    if (magic_ == 0) return divisor_ == 1 ? number : number / divisor_;
    return static_cast<int64_t>((static_cast<unsigned __int128>(magic_) * static_cast<uint64_t>(number)) >> 64);
  }

 private:
  int64_t divisor_;
  uint64_t magic_;
};

class Spreader {
 public:
  // `centres_key` draws cutout's centres; given bytes are positions already.
  Spreader(const Plan& plan, const Field& field, CallKey centres_key, const Mask& mask);

  // How the mask lies; a task of an interleaved mask is whole samples.
  bool interleaved() const { return interleaved_; }
  // The planes [plane, end) of the mask, whose bits are all ones and share no word with another task's.
  void SpreadPlanes(int64_t plane, int64_t end) const;

 private:
  static constexpr int64_t kGroup = 64;        // channels that are transposed together
  static constexpr int64_t kPositions = 4096;  // of a channel that are transposed together

  void InLaneOrder(int64_t n, int64_t begin, int64_t end) const;
  void Blocks(int64_t n, int64_t c0, int64_t c1) const;
  void BlocksByPattern(int64_t n, int64_t c0, int64_t c1) const;
  void GrowBlocks(int64_t n0, int64_t n1) const;
  void ClearFirstCells(int64_t n) const;
  void ClearEachBlock(int64_t n, bool growing) const;
  void Interleave(int64_t n) const;
  void InterleaveSparse(int64_t n) const;
  void InterleaveGroup(int64_t n, int64_t c0, int64_t first, int64_t count) const;

  void FindPlaces();
  void ClearBlock(int64_t plane, const int64_t first[3], const int64_t last[3]) const;
  bool PlaceOf(int64_t n, int64_t lane, int64_t position, int64_t first[3], int64_t last[3]) const;
  void ClearBlockOf(int64_t n, int64_t lane) const;

  const Plan& plan_;
  const Field& field_;
  const Mask& mask_;
  const CallKey centres_key_;
  const bool centres_are_drawn_;
  bool interleaved_;
  int64_t channels_, map_bits_;  // of the mask: shared channels count once, a map without cells is one bit
  Axis axis_[3];                 // missing axes first, so that the last one's cells follow each other
  int64_t stride_[3] = {0, 0, 0};
  Divider by_lanes_per_channel_, by_positions_[3];
  bool has_places_ = false;   // 1-D and 2-D dropblock with region=valid, within the limits of BlockPlaces
  bool has_pattern_ = false;  // and planes follow each other, and a block fits one
  BlockPlaces places_;
};

}  // namespace dropkit::cpu

#endif  // DROPKIT_SRC_CPU_SPREAD_H_
