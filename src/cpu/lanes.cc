// Drawing lanes in vectors: Philox calls side by side, one in each 64-bit lane of a vector, its four words in the low
// halves of four vectors. MulEven reads low halves only, so what a product or an xor leaves in the high halves is never
// cleared between rounds.
#include <algorithm>

#include "cpu/kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "cpu/lanes.cc"
#include "cpu/instruction_sets.h"
// After it: foreach_target compiles the rest once for each target.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace dropkit::cpu::HWY_NAMESPACE {
#if HWY_TARGET != HWY_SCALAR

namespace hn = hwy::HWY_NAMESPACE;

using D64 = hn::ScalableTag<uint64_t>;
using D32 = hn::Repartition<uint32_t, D64>;
using V = hn::Vec<D64>;

struct Words {
  V word[4];
};

HWY_INLINE V TimesLow(V a, uint32_t multiplier) {
  return hn::MulEven(hn::BitCast(D32(), a), hn::Set(D32(), multiplier));
}

// The key of every round, which all calls under one key share.
struct Schedule {
  explicit Schedule(CallKey key) {
    const D64 d;
    for (int round = 0; round < kPhiloxRounds; ++round, key = NextRound(key)) {
      k0[round] = hn::Set(d, key.word[0]);
      k1[round] = hn::Set(d, key.word[1]);
    }
  }
  V k0[kPhiloxRounds], k1[kPhiloxRounds];
};

HWY_INLINE Words PhiloxOf(Words counter, const Schedule& key) {
  V c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const V product0 = TimesLow(c0, kPhiloxMultiplier0), product2 = TimesLow(c2, kPhiloxMultiplier2);
    c0 = hn::Xor3(hn::ShiftRight<32>(product2), c1, key.k0[round]);
    c2 = hn::Xor3(hn::ShiftRight<32>(product0), c3, key.k1[round]);
    c1 = product2;
    c3 = product0;
  }
  return {{c0, c1, c2, c3}};
}

// One call for each of the tiles (or groups) in `places`.
HWY_INLINE Words DrawOf(const Schedule& key, uint32_t call, V places, uint64_t sample) {
  const D64 d;
  return PhiloxOf({{hn::Set(d, call), places, hn::Set(d, Low32(sample)), hn::Set(d, High32(sample))}}, key);
}

HWY_INLINE V Joined(V low, V high) {
  const D64 d;
  return hn::OrAnd(hn::ShiftLeft<32>(high), low, hn::Set(d, 0xFFFFFFFFu));
}

void DrawDigits(const LaneLaw& law, CallKey key, uint32_t group, int64_t count, uint64_t sample, uint64_t* bits) {
  const D64 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Schedule schedule(key);
  for (int64_t i = 0; i < count; i += lanes) {
    const V places = hn::Iota(d, group + static_cast<uint64_t>(i));
    V low = hn::Zero(d), high = low;
    for (int j = law.num_digit_calls; j >= 1; --j) {
      const Words w = DrawOf(schedule, static_cast<uint32_t>(j - 1), places, sample);
      const V r_low = Joined(w.word[0], w.word[1]), r_high = Joined(w.word[2], w.word[3]);
      const bool one = (law.digits >> (7 - j)) & 1;
      low = one ? hn::Or(low, r_low) : hn::And(low, r_low);
      high = one ? hn::Or(high, r_high) : hn::And(high, r_high);
    }
    hn::StoreInterleaved2(low, high, d, bits + 2 * i);
  }
}

// How many calls hold the marks of nearly every tile. They are drawn without looking; looking, and drawing what the
// rest needs, costs a mispredicted branch.
constexpr int kMostCalls = kMostThresholds / 4 + 1;
int UsualCalls(const LaneLaw& law) {
  constexpr uint32_t kNearlyAll = 0xFC000000u;
  int calls = 1;
  while (4 * calls - 1 < law.num_thresholds && law.threshold[4 * calls - 1] < kNearlyAll) ++calls;
  return calls;
}

// What the usual calls say of some tiles: how many marks each has, and its lanes if it has so many.
struct Drawn {
  uint64_t counts[kTilesAtOnce], lanes[4 * kMostCalls][kTilesAtOnce];
};

void DrawTiles(const LaneLaw& law, const Schedule& key, uint32_t first_call, int calls, uint64_t tile, int64_t tiles,
               uint64_t sample, Drawn* drawn) {
  const D64 d;
  const hn::RebindToSigned<D64> di;
  constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(D64()));
  const V low_half = hn::Set(d, 0xFFFFFFFFu);
  for (int64_t i = 0; i < tiles; i += kLanes) {
    const V places = hn::Iota(d, tile + static_cast<uint64_t>(i));
    const V first_lanes = hn::ShiftLeft<9>(places);
    V first_word = hn::Zero(d);
    for (int c = 0; c < calls; ++c) {
      const Words w = DrawOf(key, first_call + static_cast<uint32_t>(c), places, sample);
      if (c == 0) first_word = hn::And(w.word[0], low_half);
      for (int j = 0; j < 4; ++j) {
        const V lane = hn::Add(first_lanes, hn::ShiftRight<23>(hn::And(w.word[j], low_half)));
        hn::StoreU(lane, d, drawn->lanes[4 * c + j] + i);
      }
    }
    V counts = hn::Zero(d);
    for (int j = 0; j < law.num_thresholds; ++j) {
      const auto reached = hn::Gt(hn::BitCast(di, first_word), hn::Set(di, int64_t{law.threshold[j]} - 1));
      counts = hn::Sub(counts, hn::BitCast(d, hn::VecFromMask(di, reached)));
    }
    hn::StoreU(counts, d, drawn->counts + i);
  }
}

// Every lane is written behind the last and stays if it counts: no branch looks at what was drawn. (Vectors could
// compress; in Highway 1.0.3 each such call copies a table to the stack.)
uint64_t* DrawRound(const LaneLaw& law, const Schedule& schedule, CallKey key, uint32_t first_call, uint64_t tile,
                    int64_t tiles, uint64_t sample, uint64_t* marks) {
  const int calls = UsualCalls(law);
  Drawn drawn;
  DrawTiles(law, schedule, first_call, calls, tile, tiles, sample, &drawn);
  const int most = std::min(4 * calls - 1, law.num_thresholds);
  for (int j = 1; j <= most; ++j) {
    for (int64_t i = 0; i < tiles; ++i) {
      *marks = drawn.lanes[j][i];
      marks += drawn.counts[i] >= static_cast<uint64_t>(j);
    }
  }
  for (int64_t i = 0; i < tiles && most < law.num_thresholds; ++i) {
    for (int j = 4 * calls; j <= static_cast<int>(drawn.counts[i]); ++j) {
      const auto at = static_cast<uint32_t>(tile) + static_cast<uint32_t>(i);
      const Words4 words = Draw(key, first_call + static_cast<uint32_t>(j / 4), at, sample);
      *marks++ = uint64_t{at} * kTileLanes + (words.word[j % 4] >> 23);
    }
  }
  return marks;
}

int64_t DrawMarks(const LaneLaw& law, CallKey key, uint32_t tile, int64_t count, uint64_t sample, uint64_t* marks) {
  const Schedule schedule(key);
  uint64_t* end = marks;
  for (int round = 0; round < law.rounds; ++round) {
    end = DrawRound(law, schedule, key, static_cast<uint32_t>(16 * round), tile, count, sample, end);
  }
  return end - marks;
}

void AddLanes(Kernels* kernels) {
  kernels->draw_digits = DrawDigits;
  kernels->draw_marks = DrawMarks;
}

#endif
}  // namespace dropkit::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace dropkit::cpu {
void AddLanes(Isa isa, Kernels* kernels) { DROPKIT_CALL_FOR(isa, AddLanes, kernels); }
}  // namespace dropkit::cpu
#endif
