// Drawing lanes in vectors: Philox calls side by side, one in each 64-bit lane of a vector, its four words in the low
// halves of four vectors. MulEven reads low halves only, so what a product or an xor leaves in the high halves is never
// cleared between rounds.
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

HWY_INLINE Words PhiloxOf(Words counter, CallKey key) {
  const D64 d;
  V c0 = counter.word[0], c1 = counter.word[1], c2 = counter.word[2], c3 = counter.word[3];
  uint32_t k0 = key.word[0], k1 = key.word[1];
  for (int round = 0; round < 10; ++round) {
    const V product0 = TimesLow(c0, 0xD2511F53u), product2 = TimesLow(c2, 0xCD9E8D57u);
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product2), c1), hn::Set(d, k0));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3), hn::Set(d, k1));
    c1 = product2;
    c3 = product0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// One call for the tiles (or groups) from `first` on, a lane each.
HWY_INLINE Words DrawOf(CallKey key, uint32_t call, V places, uint64_t sample) {
  const D64 d;
  return PhiloxOf({{hn::Set(d, call), places, hn::Set(d, Low32(sample)), hn::Set(d, High32(sample))}}, key);
}

HWY_INLINE V Joined(V low, V high) {
  const D64 d;
  return hn::Or(hn::And(low, hn::Set(d, 0xFFFFFFFFu)), hn::ShiftLeft<32>(high));
}

void DrawDigits(const LaneLaw& law, CallKey key, uint32_t group, int64_t count, uint64_t sample, uint64_t* bits) {
  const D64 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = 0; i < count; i += lanes) {
    const V places = hn::Iota(d, group + static_cast<uint64_t>(i));
    V low = hn::Zero(d), high = low;
    for (int j = law.num_digit_calls; j >= 1; --j) {
      const Words w = DrawOf(key, static_cast<uint32_t>(j - 1), places, sample);
      const V r_low = Joined(w.word[0], w.word[1]), r_high = Joined(w.word[2], w.word[3]);
      const bool one = (law.digits >> (7 - j)) & 1;
      low = one ? hn::Or(low, r_low) : hn::And(low, r_low);
      high = one ? hn::Or(high, r_high) : hn::And(high, r_high);
    }
    hn::StoreInterleaved2(low, high, d, bits + 2 * i);
  }
}

// Appends the lanes that word j of the tiles whose count reaches `number` marks.
HWY_INLINE uint64_t* Emit(V word, V counts, int number, V first_lanes, uint64_t* marks) {
  const D64 d;
  const hn::RebindToSigned<D64> di;
  const auto marked = hn::Gt(hn::BitCast(di, counts), hn::Set(di, number - 1));
  const V lane = hn::Add(first_lanes, hn::ShiftRight<23>(hn::And(word, hn::Set(d, 0xFFFFFFFFu))));
  return marks + hn::CompressStore(lane, hn::RebindMask(d, marked), d, marks);
}

// How many marks each tile has: the thresholds that its first word reaches.
HWY_INLINE V CountsOf(const LaneLaw& law, V word) {
  const D64 d;
  const hn::RebindToSigned<D64> di;
  const auto first = hn::BitCast(di, hn::And(word, hn::Set(d, 0xFFFFFFFFu)));
  V counts = hn::Zero(d);
  for (int i = 0; i < law.num_thresholds; ++i) {
    const auto reached = hn::Gt(first, hn::Set(di, int64_t{law.threshold[i]} - 1));
    counts = hn::Sub(counts, hn::BitCast(d, hn::VecFromMask(di, reached)));
    // Thresholds rise. Looking whether anybody goes on costs as much as four of them.
    if (i % 4 == 3 && hn::AllFalse(di, reached)) break;
  }
  return counts;
}

int64_t DrawMarks(const LaneLaw& law, CallKey key, uint32_t tile, int64_t count, uint64_t sample, uint64_t* marks) {
  const D64 d;
  const hn::RebindToSigned<D64> di;
  constexpr auto kLanes = static_cast<int64_t>(hn::MaxLanes(D64()));
  uint64_t* end = marks;
  for (int round = 0; round < law.rounds; ++round) {
    const auto first_call = static_cast<uint32_t>(16 * round);
    // All first calls before any mark: they do not wait for each other.
    Words first[kTilesAtOnce / kLanes];
    for (int64_t i = 0; i * kLanes < count; ++i) {
      first[i] = DrawOf(key, first_call, hn::Iota(d, tile + static_cast<uint64_t>(i * kLanes)), sample);
    }
    for (int64_t i = 0; i * kLanes < count; ++i) {
      const V places = hn::Iota(d, tile + static_cast<uint64_t>(i * kLanes));
      const V first_lanes = hn::ShiftLeft<9>(places);
      const auto asked = hn::FirstN(d, static_cast<size_t>(count - i * kLanes));
      const V counts = hn::IfThenElseZero(asked, CountsOf(law, first[i].word[0]));
      Words w = first[i];
      for (int j = 1; j < 4; ++j) end = Emit(w.word[j], counts, j, first_lanes, end);
      for (int j = 4; !hn::AllFalse(di, hn::Gt(hn::BitCast(di, counts), hn::Set(di, j - 1))); ++j) {
        if (j % 4 == 0) w = DrawOf(key, first_call + static_cast<uint32_t>(j / 4), places, sample);
        end = Emit(w.word[j % 4], counts, j, first_lanes, end);
      }
    }
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
