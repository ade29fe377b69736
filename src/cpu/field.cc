// Whole tiles of the field as words.
#include "cpu/field.h"

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
    uint64_t marks[kMarksAtOnce];
    const int64_t number = kernels->draw_marks(law, overlay_key, static_cast<uint32_t>(tile), count, sample, marks);
    for (int64_t i = 0; i < number; ++i) {
      const uint64_t lane = marks[i] - static_cast<uint64_t>(first);
      bits[lane >> 6] |= uint64_t{1} << (lane & 63);
    }
  }
  for (int64_t i = 0; law.inverted && i < words; ++i) bits[i] = ~bits[i];
}

}  // namespace dropkit::cpu
