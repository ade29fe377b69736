// Whole tiles of the field as words.
#include "cpu/field.h"

#include <bit>

namespace dropkit::cpu {
namespace {

void FromBytes(const uint8_t* bytes, bool marks_kept, int64_t count, uint64_t* bits) {
  for (int64_t i = 0; i < count; ++i) bits[i >> 6] |= uint64_t{(bytes[i] != 0) != marks_kept} << (i & 63);
}

}  // namespace

void Field::DrawTiles(int64_t n, int64_t tile, int64_t count, uint64_t* bits) const {
  const int64_t words = count * kTileWords, first = tile * kTileLanes;
  const int64_t have = std::min(lanes - first, count * kTileLanes);
  if (given || law.digits == 0) std::fill_n(bits, words, law.all && !given ? ~uint64_t{0} : 0);
  if (given) return FromBytes(given + n * lanes + first, given_marks_kept, have, bits);
  if (law.none || law.all) return;
  const uint64_t sample = GlobalSample(n);
  if (law.digits != 0) {
    const auto group = static_cast<uint32_t>(tile * (kTileLanes / 128));
    kernels->draw_digits(law, digits_key, group, (have + 127) / 128, sample, bits);
  }
  if (law.rounds > 0) {
    uint32_t marks[kMarksAtOnce];
    const int64_t number = kernels->draw_marks(law, overlay_key, static_cast<uint32_t>(tile), count, sample, marks);
    for (int64_t i = 0; i < number; ++i) bits[marks[i] >> 6] |= uint64_t{1} << (marks[i] & 63);
  }
  for (int64_t i = 0; law.inverted && i < words; ++i) bits[i] = ~bits[i];
}

int64_t Field::Marks(int64_t n, int64_t tile, int64_t count, int64_t begin, int64_t end, uint32_t* batch) const {
  if (law.none) return 0;
  const int64_t number =
      kernels->draw_marks(law, overlay_key, static_cast<uint32_t>(tile), count, GlobalSample(n), batch);
  const int64_t first = tile * kTileLanes;
  if (first >= begin && first + count * kTileLanes <= end) return number;
  const auto outside = [=](uint32_t lane) { return first + lane < begin || first + lane >= end; };
  return std::remove_if(batch, batch + number, outside) - batch;
}

int64_t Field::Bits(int64_t n, int64_t tile, int64_t count, int64_t begin, int64_t end, uint32_t* batch) const {
  uint64_t bits[kTilesWords];
  DrawTiles(n, tile, count, bits);
  uint32_t* last = batch;
  for (int64_t i = 0; i < count * kTileWords; ++i) {
    const int64_t first = tile * kTileLanes + 64 * i;
    const uint64_t wanted =
        LowMask(std::clamp<int64_t>(end - first, 0, 64)) & ~LowMask(std::clamp<int64_t>(begin - first, 0, 64));
    for (uint64_t fired = bits[i] & wanted; fired != 0; fired &= fired - 1) {
      *last++ = static_cast<uint32_t>(64 * i) + static_cast<uint32_t>(std::countr_zero(fired));
    }
  }
  return last - batch;
}

}  // namespace dropkit::cpu
