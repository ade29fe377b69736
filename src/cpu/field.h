// The lanes of one call that fire, wherever they come from: the draw, or bytes that the caller gave.
#ifndef DROPKIT_SRC_CPU_FIELD_H_
#define DROPKIT_SRC_CPU_FIELD_H_

#include <algorithm>
#include <cstdint>

#include "cpu/kernels.h"

namespace dropkit::cpu {

// Words for kTilesAtOnce tiles, and what draw_digits writes past them.
inline constexpr int64_t kTilesWords = kTilesAtOnce * kTileWords + 2 * kMoreGroups;

struct Field {
  const Kernels* kernels = nullptr;
  LaneLaw law;
  CallKey digits_key, overlay_key;
  const uint8_t* given = nullptr;  // a byte a lane, [samples][lanes]
  bool given_marks_kept = false;   // Pack: a zero byte fires
  int64_t lanes = 0;               // of a sample
  uint64_t first_sample = 0;
  bool shares_batch = false;

  uint64_t GlobalSample(int64_t n) const { return shares_batch ? 0 : first_sample + static_cast<uint64_t>(n); }

  // Few lanes fire, and the draw names them one by one.
  bool sparse() const { return !given && !law.all && !law.inverted && law.digits == 0; }

  // The fired lanes of `count` tiles (at most kTilesAtOnce), bit i of bits being lane 512 tile + i. Bits of lanes that
  // the sample does not have are unspecified. `bits` has kTilesWords places.
  void DrawTiles(int64_t n, int64_t tile, int64_t count, uint64_t* bits) const;

  // Calls body(first, lanes, count) for the fired lanes in [begin, end) of sample n, which are first + lanes[i], some
  // at a time, in no order; a lane may come again.
  template <typename Body>
  void ForEachBatch(int64_t n, int64_t begin, int64_t end, Body body) const {
    uint32_t batch[std::max(kMarksAtOnce, kTilesAtOnce * kTileLanes)];
    const int64_t tiles_end = (end + kTileLanes - 1) / kTileLanes;
    for (int64_t tile = begin / kTileLanes; tile < tiles_end; tile += kTilesAtOnce) {
      const int64_t count = std::min(kTilesAtOnce, tiles_end - tile);
      const int64_t fired =
          sparse() ? Marks(n, tile, count, begin, end, batch) : Bits(n, tile, count, begin, end, batch);
      if (fired > 0) body(tile * kTileLanes, batch, fired);
    }
  }

  template <typename Body>
  void ForEachFired(int64_t n, int64_t begin, int64_t end, Body body) const {
    ForEachBatch(n, begin, end, [&](int64_t first, const uint32_t* fired, int64_t count) {
      for (int64_t i = 0; i < count; ++i) body(first + fired[i]);
    });
  }

 private:
  int64_t Marks(int64_t n, int64_t tile, int64_t count, int64_t begin, int64_t end, uint32_t* batch) const;
  int64_t Bits(int64_t n, int64_t tile, int64_t count, int64_t begin, int64_t end, uint32_t* batch) const;
};

}  // namespace dropkit::cpu

#endif  // DROPKIT_SRC_CPU_FIELD_H_
