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

// Two vectors of calls at a time: a single one would wait for its own products, and the processor's queue is too short
// to see the next from there.
constexpr int kVectors = 2;
constexpr auto kPlaces = static_cast<int64_t>(kVectors * hn::MaxLanes(D64()));

// Arrays and not structs: the constructors that a struct has unasked are compiled for no target.
using Words = V[4][kVectors];

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

HWY_INLINE void PhiloxRound(Words& words, V k0, V k1) {
  for (int i = 0; i < kVectors; ++i) {
    V &c0 = words[0][i], &c1 = words[1][i], &c2 = words[2][i], &c3 = words[3][i];
    const V product0 = TimesLow(c0, kPhiloxMultiplier0), product2 = TimesLow(c2, kPhiloxMultiplier2);
    c0 = hn::Xor3(hn::ShiftRight<32>(product2), c1, k0);
    c2 = hn::Xor3(hn::ShiftRight<32>(product0), c3, k1);
    c1 = product2;
    c3 = product0;
  }
}

// first, first + 1, ... Highway's Iota of a variable goes lane by lane through memory.
HWY_INLINE V CountFrom(uint64_t first) { return hn::Add(hn::Iota(D64(), 0), hn::Set(D64(), first)); }

// One call for each of the kPlaces tiles (or groups) from `place` on.
HWY_INLINE void DrawWords(const Schedule& key, uint32_t call, uint64_t place, uint64_t sample, Words& words) {
  const D64 d;
  for (int i = 0; i < kVectors; ++i) {
    words[0][i] = hn::Set(d, call);
    words[1][i] = CountFrom(place + static_cast<uint64_t>(i) * hn::Lanes(d));
    words[2][i] = hn::Set(d, Low32(sample));
    words[3][i] = hn::Set(d, High32(sample));
  }
  for (int round = 0; round < kPhiloxRounds; ++round) PhiloxRound(words, key.k0[round], key.k1[round]);
}

HWY_INLINE V Joined(V low, V high) {
  const D64 d;
  return hn::OrAnd(hn::ShiftLeft<32>(high), low, hn::Set(d, 0xFFFFFFFFu));
}

void DrawDigits(const LaneLaw& law, CallKey key, uint32_t group, int64_t count, uint64_t sample, uint64_t* bits) {
  const D64 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Schedule schedule(key);
  for (int64_t i = 0; i < count; i += kPlaces) {
    V low[kVectors], high[kVectors];
    for (int v = 0; v < kVectors; ++v) low[v] = high[v] = hn::Zero(d);
    for (int j = law.num_digit_calls; j >= 1; --j) {
      Words w;
      DrawWords(schedule, static_cast<uint32_t>(j - 1), group + static_cast<uint64_t>(i), sample, w);
      const bool one = (law.digits >> (7 - j)) & 1;
      for (int v = 0; v < kVectors; ++v) {
        const V r_low = Joined(w[0][v], w[1][v]), r_high = Joined(w[2][v], w[3][v]);
        low[v] = one ? hn::Or(low[v], r_low) : hn::And(low[v], r_low);
        high[v] = one ? hn::Or(high[v], r_high) : hn::And(high[v], r_high);
      }
    }
    for (int v = 0; v < kVectors; ++v) hn::StoreInterleaved2(low[v], high[v], d, bits + 2 * (i + v * lanes));
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
  uint32_t counts[kTilesAtOnce], lanes[4 * kMostCalls][kTilesAtOnce];
};

// Of tiles, by the first words of their first calls.
template <class U>
HWY_INLINE U NumberOfMarks(const LaneLaw& law, U first_word) {
  const hn::DFromV<U> d;
  U number = hn::Zero(d);
  for (int j = 0; j < law.num_thresholds; ++j) {
    const auto reached = hn::Eq(hn::Max(first_word, hn::Set(d, law.threshold[j])), first_word);
    number = hn::Sub(number, hn::VecFromMask(d, reached));
  }
  return number;
}

void DrawTiles(const LaneLaw& law, const Schedule& key, uint32_t first_call, int calls, uint64_t tile, int64_t tiles,
               uint64_t sample, Drawn* drawn) {
  const hn::Rebind<uint32_t, D64> d;
  static_assert(kTilesAtOnce % kPlaces == 0);
  for (int64_t i = 0; i < tiles; i += kPlaces) {
    for (int c = 0; c < calls; ++c) {
      Words w;
      DrawWords(key, first_call + static_cast<uint32_t>(c), tile + static_cast<uint64_t>(i), sample, w);
      for (int v = 0; v < kVectors; ++v) {
        const int64_t at = i + v * static_cast<int64_t>(hn::Lanes(d));
        const auto first_lanes = hn::TruncateTo(d, hn::ShiftLeft<9>(CountFrom(static_cast<uint64_t>(at))));
        if (c == 0) hn::StoreU(NumberOfMarks(law, hn::TruncateTo(d, w[0][v])), d, drawn->counts + at);
        for (int j = 0; j < 4; ++j) {
          const auto lane = hn::Add(first_lanes, hn::ShiftRight<23>(hn::TruncateTo(d, w[j][v])));
          hn::StoreU(lane, d, drawn->lanes[4 * c + j] + at);
        }
      }
    }
  }
}

// Appends mark j of the tiles that have so many; no branch looks at what was drawn.
HWY_INLINE uint32_t* AppendMarks(const Drawn& drawn, int j, int64_t tiles, uint32_t* marks) {
#if HWY_TARGET == HWY_AVX3
  const hn::CappedTag<uint32_t, kTilesAtOnce> d;
  static_assert(hn::MaxLanes(d) == kTilesAtOnce);
  const auto enough = hn::And(hn::FirstN(d, static_cast<size_t>(tiles)),
                              hn::Gt(hn::LoadU(d, drawn.counts), hn::Set(d, static_cast<uint32_t>(j - 1))));
  hn::StoreU(hn::Compress(hn::LoadU(d, drawn.lanes[j]), enough), d, marks);  // compressing stores are slow
  return marks + hn::CountTrue(d, enough);
#else
  // Every lane is written behind the last and stays if it counts. (In Highway 1.0.3 each call of Compress copies a
  // table to the stack.)
  for (int64_t i = 0; i < tiles; ++i) {
    *marks = drawn.lanes[j][i];
    marks += drawn.counts[i] >= static_cast<uint32_t>(j);
  }
  return marks;
#endif
}

uint32_t* DrawRound(const LaneLaw& law, const Schedule& schedule, CallKey key, uint32_t first_call, uint32_t tile,
                    int64_t tiles, uint64_t sample, uint32_t* marks) {
  const int calls = UsualCalls(law);
  Drawn drawn;
  DrawTiles(law, schedule, first_call, calls, tile, tiles, sample, &drawn);
  const int most = std::min(4 * calls - 1, law.num_thresholds);
  for (int j = 1; j <= most; ++j) marks = AppendMarks(drawn, j, tiles, marks);
  for (int64_t i = 0; i < tiles && most < law.num_thresholds; ++i) {
    for (int j = 4 * calls; j <= static_cast<int>(drawn.counts[i]); ++j) {
      const auto at = static_cast<uint32_t>(i);
      const Words4 words = Draw(key, first_call + static_cast<uint32_t>(j / 4), tile + at, sample);
      *marks++ = at * kTileLanes + (words.word[j % 4] >> 23);
    }
  }
  return marks;
}

int64_t DrawMarks(const LaneLaw& law, CallKey key, uint32_t tile, int64_t count, uint64_t sample, uint32_t* marks) {
  const Schedule schedule(key);
  uint32_t* end = marks;
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
