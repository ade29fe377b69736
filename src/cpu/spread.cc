// Clears what fired lanes drop. Memory plan: a part of the mask, its tiles' bits and marks stay in the first cache;
// only a channels-last sample with blocks is passed over several times, in the second.
#include "cpu/spread.h"

#include "methods.h"

namespace dropkit::cpu {
namespace {

void MakePattern(int64_t rows, int64_t columns, int64_t stride, Pattern* pattern) {
  pattern->words = Pattern::WordsFor(rows, columns, stride);
  uint64_t dropped[Pattern::kMostWords] = {};
  for (int64_t j = 0; j < rows; ++j) {
    for (int64_t k = 0; k < columns; ++k) {
      const int64_t bit = j * stride + k;
      dropped[bit >> 6] |= uint64_t{1} << (bit & 63);
    }
  }
  for (int shift = 0; shift < 64; ++shift) {
    for (int i = 0; i < pattern->words; ++i) {
      const uint64_t carried = i == 0 ? 0 : (dropped[i - 1] >> 1) >> (63 - shift);
      pattern->kept[shift * pattern->words + i] = ~(dropped[i] << shift | carried);
    }
  }
}

// The pattern of a block of rows x columns in a map whose rows are `stride` bits apart. Each thread keeps the last one
// that it made: to fetch another core's takes longer than to sample a small mask.
const Pattern& PatternOf(int64_t rows, int64_t columns, int64_t stride) {
  thread_local Pattern pattern;
  thread_local int64_t made_for[3] = {};
  if (made_for[0] != rows || made_for[1] != columns || made_for[2] != stride) {
    MakePattern(rows, columns, stride, &pattern);
    made_for[0] = rows;
    made_for[1] = columns;
    made_for[2] = stride;
  }
  return pattern;
}

}  // namespace

Spreader::Spreader(const Plan& plan, const Field& field, CallKey centres_key, const Mask& mask)
    : plan_(plan),
      field_(field),
      mask_(mask),
      centres_key_(centres_key),
      centres_are_drawn_(mask.spec.method == Method::kCutout && !field.given),
      channels_(plan.lane_channels),
      map_bits_(plan.has_map ? plan.cells : 1),
      by_lanes_per_channel_(plan.lanes_per_channel, plan.lanes) {
  interleaved_ = channels_ > 1 && mask.channel_stride != map_bits_;
  const int missing = 3 - mask.spatial_dims;
  for (int i = 0; i < mask.spatial_dims; ++i) {
    axis_[missing + i] = plan.axis[i];
    stride_[missing + i] = mask.stride[i];
  }
  for (int i = 0; i < 3; ++i) by_positions_[i] = Divider(axis_[i].positions, plan.lanes);
  if (plan.has_blocks) FindPlaces();
}

// For blocks that are never cut off and whose rows of positions are one axis: all but region=whole and 3-D.
void Spreader::FindPlaces() {
  const Axis &rows = axis_[1], &columns = axis_[2];
  has_places_ = mask_.spec.method == Method::kDropBlock && mask_.spec.region == Region::kValid &&
                mask_.spatial_dims != 3 && channels_ * map_bits_ >> 31 == 0 &&
                std::max(rows.positions, columns.positions) <= BlockPlaces::kMostPositions;
  has_pattern_ = has_places_ && !interleaved_ && Pattern::WordsFor(rows.block, columns.block, stride_[1]) != 0;
  places_ = {0,
             columns.positions,
             rows.positions,
             stride_[2],
             stride_[1] - columns.positions * stride_[2],
             mask_.channel_stride - rows.positions * stride_[1],
             0};
}

void Spreader::SpreadPlanes(int64_t plane, int64_t end) const {
  if (interleaved_ && plan_.has_blocks) return GrowBlocks(plane / channels_, end / channels_);
  while (plane < end) {
    const int64_t n = plane / channels_, c0 = plane % channels_;
    const int64_t c1 = std::min(channels_, c0 + end - plane);
    if (interleaved_) {
      field_.sparse() ? InterleaveSparse(n) : Interleave(n);
    } else if (plan_.has_blocks) {
      Blocks(n, c0, c1);
    } else {
      InLaneOrder(n, c0 * plan_.lanes_per_channel, c1 * plan_.lanes_per_channel);
    }
    plane += c1 - c0;
  }
}

// ---------------------------------------------------------------- lanes that lie as the mask's bits do

void Spreader::InLaneOrder(int64_t n, int64_t begin, int64_t end) const {
  const int64_t base = n * mask_.sample_stride;
  if (field_.sparse()) {
    field_.ForEachFired(n, begin, end, [&](int64_t lane) { ClearBit(mask_.bits, base + lane); });
    return;
  }
  uint64_t fired[kTilesWords];
  const int64_t tiles_end = (end + kTileLanes - 1) / kTileLanes;
  for (int64_t tile = begin / kTileLanes; tile < tiles_end; tile += kTilesAtOnce) {
    const int64_t count = std::min(kTilesAtOnce, tiles_end - tile);
    field_.DrawTiles(n, tile, count, fired);
    const int64_t first = tile * kTileLanes, words = count * kTileWords;
    for (int64_t i = 0; first + 64 * i < begin; ++i) fired[i] &= ~LowMask(begin - first - 64 * i);
    for (int64_t i = words; first + 64 * i > end; --i)
      fired[i - 1] &= LowMask(std::max<int64_t>(0, end - first - 64 * (i - 1)));
    ClearMarkedWords(mask_.bits, base + first, fired, words);
  }
}

// ---------------------------------------------------------------- blocks in planes that follow each other

// The block of a fired lane: the cells [first, last) of each axis. True if none of it is cut off.
bool Spreader::PlaceOf(int64_t n, int64_t lane, int64_t position, int64_t first[3], int64_t last[3]) const {
  int64_t at[3];
  if (centres_are_drawn_) {
    const Words4 words = Draw(centres_key_, 0, static_cast<uint32_t>(lane), field_.GlobalSample(n));
    const int missing = 3 - mask_.spatial_dims;
    for (int i = 0; i < 3; ++i) at[i] = i < missing ? 0 : UniformBelow(words.word[i - missing], axis_[i].positions);
  } else {
    for (int i = 2; i >= 0; --i) {
      const int64_t rest = by_positions_[i](position);
      at[i] = position - rest * axis_[i].positions;
      position = rest;
    }
  }
  bool whole = true;
  for (int i = 0; i < 3; ++i) {
    const int64_t start = at[i] - axis_[i].before, end = start + axis_[i].block;
    whole &= start >= 0 && end <= axis_[i].size;
    first[i] = std::max<int64_t>(0, start);
    last[i] = std::min(axis_[i].size, end);
  }
  return whole;
}

void Spreader::ClearBlock(int64_t plane, const int64_t first[3], const int64_t last[3]) const {
  for (int64_t i = first[0]; i < last[0]; ++i) {
    for (int64_t j = first[1]; j < last[1]; ++j) {
      const int64_t row = plane + i * stride_[0] + j * stride_[1];
      if (stride_[2] <= 1) {
        ClearRange(mask_.bits, row + first[2], row + last[2]);
      } else {
        for (int64_t k = first[2]; k < last[2]; ++k) ClearBit(mask_.bits, row + k * stride_[2]);
      }
    }
  }
}

void Spreader::ClearBlockOf(int64_t n, int64_t lane) const {
  const int64_t channel = by_lanes_per_channel_(lane);
  int64_t first[3], last[3];
  PlaceOf(n, lane, lane - channel * plan_.lanes_per_channel, first, last);
  ClearBlock(n * mask_.sample_stride + channel * mask_.channel_stride, first, last);
}

void Spreader::Blocks(int64_t n, int64_t c0, int64_t c1) const {
  if (has_pattern_) return BlocksByPattern(n, c0, c1);
  const int64_t per_channel = plan_.lanes_per_channel;
  field_.ForEachFired(n, c0 * per_channel, c1 * per_channel, [&](int64_t lane) { ClearBlockOf(n, lane); });
}

void Spreader::BlocksByPattern(int64_t n, int64_t c0, int64_t c1) const {
  const int64_t per_channel = plan_.lanes_per_channel;
  const Pattern& pattern = PatternOf(axis_[1].block, axis_[2].block, stride_[1]);
  BlockPlaces places = places_;
  places.base = n * mask_.sample_stride;
  places.end_word = (places.base + c1 * map_bits_ + 63) / 64;
  field_.ForEachBatch(n, c0 * per_channel, c1 * per_channel, [&](int64_t first, uint32_t* lanes, int64_t count) {
    const int64_t left = field_.kernels->clear_blocks(mask_.bits, pattern, places, first, lanes, count, lanes);
    for (int64_t i = 0; i < left; ++i) ClearBlockOf(n, first + lanes[i]);
  });
}

// ---------------------------------------------------------------- channels last

// Samples [n0, n1). Blocks that lie inside the map start as their first cells and grow along each axis for all channels
// at once; no growth crosses an edge. Those that the edge cuts (and cutout's, which are few) are cleared one by one.
void Spreader::GrowBlocks(int64_t n0, int64_t n1) const {
  const bool grow = mask_.spec.method == Method::kDropBlock;
  const bool all_grow = grow && mask_.spec.region == Region::kValid;
  for (int64_t n = n0; n < n1 && grow; ++n) all_grow ? ClearFirstCells(n) : ClearEachBlock(n, true);
  if (grow) {
    const int64_t sample_bits = channels_ * map_bits_;  // the mask's own stride is 0 where the batch shares it
    uint64_t* words = mask_.bits + n0 * sample_bits / 64;
    const int64_t count = (n1 * sample_bits + 63) / 64 - n0 * sample_bits / 64;
    for (int i = 0; i < 3; ++i) {
      for (int64_t width = 1; width < axis_[i].block;) {
        const int64_t more = std::min(width, axis_[i].block - width);
        field_.kernels->and_shifted(words, count, more * stride_[i]);
        width += more;
      }
    }
  }
  for (int64_t n = n0; n < n1 && !all_grow; ++n) ClearEachBlock(n, false);
}

// Of dropblock with region=valid: lanes are first cells.
void Spreader::ClearFirstCells(int64_t n) const {
  if (!has_places_) return ClearEachBlock(n, true);
  BlockPlaces places = places_;
  places.base = n * mask_.sample_stride;
  field_.ForEachBatch(n, 0, plan_.lanes, [&](int64_t first, const uint32_t* lanes, int64_t count) {
    field_.kernels->clear_first_cells(mask_.bits, places, first, lanes, count);
  });
}

// The blocks that grow (then their first cell alone), or the others.
void Spreader::ClearEachBlock(int64_t n, bool growing) const {
  const bool grow = mask_.spec.method == Method::kDropBlock;
  field_.ForEachFired(n, 0, plan_.lanes, [&](int64_t lane) {
    const int64_t channel = by_lanes_per_channel_(lane);
    int64_t first[3], last[3];
    const bool whole = PlaceOf(n, lane, lane - channel * plan_.lanes_per_channel, first, last);
    if ((whole && grow) != growing) return;
    for (int i = 0; i < 3 && growing; ++i) last[i] = first[i] + 1;
    ClearBlock(n * mask_.sample_stride + channel * mask_.channel_stride, first, last);
  });
}

void Spreader::InterleaveSparse(int64_t n) const {
  const int64_t base = n * mask_.sample_stride;
  field_.ForEachFired(n, 0, plan_.lanes, [&](int64_t lane) {
    const int64_t channel = by_lanes_per_channel_(lane);
    ClearBit(mask_.bits, base + (lane - channel * plan_.lanes_per_channel) * channels_ + channel);
  });
}

void Spreader::Interleave(int64_t n) const {
  for (int64_t first = 0; first < plan_.cells; first += kPositions) {
    const int64_t count = std::min(kPositions, plan_.cells - first);
    for (int64_t c0 = 0; c0 < channels_; c0 += kGroup) InterleaveGroup(n, c0, first, count);
  }
}

// Channels [c0, c0 + kGroup), positions [first, first + count): each channel's lanes are a row of bits, transposed 64
// by 64. Rows of a whole map follow each other in the field; others are drawn one by one.
void Spreader::InterleaveGroup(int64_t n, int64_t c0, int64_t first, int64_t count) const {
  constexpr int64_t kRowTiles = kPositions / kTileLanes + 1;
  uint64_t fired[kGroup * kRowTiles * kTileWords + kTilesWords];
  int64_t row[kGroup];
  const int64_t group = std::min(kGroup, channels_ - c0);
  const auto draw = [&](int64_t begin, int64_t end, uint64_t* words) {  // whole tiles; returns where `begin` is
    const int64_t tile0 = begin / kTileLanes, tiles_end = (end + kTileLanes - 1) / kTileLanes;
    for (int64_t tile = tile0; tile < tiles_end; tile += kTilesAtOnce) {
      field_.DrawTiles(n, tile, std::min(kTilesAtOnce, tiles_end - tile), words + (tile - tile0) * kTileWords);
    }
    return begin - tile0 * kTileLanes;
  };
  if (count == plan_.cells) {
    const int64_t start = draw(c0 * count, (c0 + group) * count, fired);
    for (int64_t i = 0; i < group; ++i) row[i] = start + i * count;
  } else {
    for (int64_t i = 0; i < group; ++i) {
      const int64_t begin = (c0 + i) * plan_.cells + first, word = i * kRowTiles * kTileWords;
      row[i] = 64 * word + draw(begin, begin + count, fired + word);
    }
  }
  const int64_t base = n * mask_.sample_stride + first * channels_ + c0;
  for (int64_t position = 0; position < count; position += 64) {
    const int64_t some = std::min<int64_t>(64, count - position);
    uint64_t square[64] = {};
    for (int64_t i = 0; i < group; ++i) square[i] = LoadBits(fired, row[i] + position, some);
    field_.kernels->transpose(square);
    for (int64_t i = 0; i < some; ++i) ClearMarked(mask_.bits, base + (position + i) * channels_, square[i]);
  }
}

}  // namespace dropkit::cpu
