// Counts of kept elements, in the launch that draws them: no memory has to be cleared before, nothing runs after.
//
// A count's bits (a sample's, a plane's, or the whole tensor's) may lie in several pieces. Each block leaves its part
// in a slot of the workspace, and then looks whether the slots of all the count's pieces are there: at least the block
// that is last, by the order of the fences, sees them all, and writes their sum; when several do, they write the same.
// A slot is there if it bears the stamp of this draw, which is made of all that its number depends on, its place in
// memory too: what an earlier launch left there either has another stamp or is the right number. (A stamp has 43 bits.)
// A mask of given bytes has no key to make a stamp of, so its slots are cleared before.
#ifndef DROPKIT_SRC_CUDA_COUNT_H_
#define DROPKIT_SRC_CUDA_COUNT_H_

#include "cuda/block.h"
#include "cuda/draw_bits.h"

namespace dropkit::cuda {

enum class CountOf : uint8_t { kTensor, kSample, kPlane };

struct Counting {
  CountOf of = CountOf::kSample;
  int64_t* kept = nullptr;
  uint64_t* slots = nullptr;
  int64_t slots_of_piece = 2;
  uint64_t shape = 0;               // of what the numbers depend on beside the key and T
  int64_t unit_bits = 1;            // of a count, where its bits follow each other
  int64_t channels = 1;             // counts of a sample that lie interleaved in a range; else 1
  int64_t weight = 1;               // elements that a bit stands for in its count
  int64_t samples = 1, planes = 1;  // of x: a shared mask's counts are written for each
};

inline constexpr int kStampShift = 20;
static_assert(kMostPieceBits < 1 << kStampShift);

// Not 0, which cleared slots are.
DROPKIT_DEVICE uint64_t StampOf(const Counting& counting, const Drawn& drawn, bool has_key) {
  const CallKey key = has_key ? drawn.overlay_key() : CallKey{{0, 0}};
  const uint64_t of_key = key.word[0] | uint64_t{key.word[1]} << 32;
  const uint64_t mixed = of_key ^ counting.shape ^ (drawn.threshold * 0x9E3779B97F4A7C15u);
  return (mixed | 1u) << kStampShift;
}

// Slots are read and written as volatile: a compiler may move other accesses over a fence that it sees no use of.
DROPKIT_DEVICE void WriteSlot(uint64_t* slot, uint64_t value) { *static_cast<volatile uint64_t*>(slot) = value; }
DROPKIT_DEVICE uint64_t ReadSlot(const uint64_t* slot) { return *static_cast<const volatile uint64_t*>(slot); }

// The count of unit `n` (tensor, sample) or of plane (n, c), for all that share it; `lane` of `lanes` threads.
DROPKIT_DEVICE void StoreKept(const Counting& counting, const Pieces& pieces, int64_t n, int64_t c, int64_t kept,
                              unsigned lane, unsigned lanes) {
  if (counting.of == CountOf::kTensor) {
    if (lane == 0) counting.kept[0] = kept;
    return;
  }
  const bool all_samples = pieces.samples < counting.samples, all_planes = pieces.channels < counting.planes;
  const int64_t n0 = all_samples ? 0 : n, n1 = all_samples ? counting.samples : n + 1;
  if (counting.of == CountOf::kSample) {
    for (int64_t i = n0 + lane; i < n1; i += lanes) counting.kept[i] = kept;
    return;
  }
  const int64_t c0 = all_planes ? 0 : c, width = all_planes ? counting.planes : 1;
  for (int64_t i = lane; i < (n1 - n0) * width; i += lanes) {
    counting.kept[(n0 + i / width) * counting.planes + c0 + i % width] = kept;
  }
}

// ---------------------------------------------------------------- a count and its slots

// Who brings a count to its end: a warp, or where a piece has a count a channel, a thread.
struct WarpTeam {
  DROPKIT_DEVICE static unsigned Lane() { return threadIdx.x % 32; }
  DROPKIT_DEVICE static unsigned Lanes() { return 32; }
  DROPKIT_DEVICE static void Meet() { __syncwarp(); }
  DROPKIT_DEVICE static bool Any(bool value) { return __ballot_sync(0xFFFFFFFFu, value) != 0; }
  DROPKIT_DEVICE static int64_t Sum(int64_t value) { return WarpSum(value); }
};
struct ThreadTeam {
  DROPKIT_DEVICE static unsigned Lane() { return 0; }
  DROPKIT_DEVICE static unsigned Lanes() { return 1; }
  DROPKIT_DEVICE static void Meet() {}
  DROPKIT_DEVICE static bool Any(bool value) { return value; }
  DROPKIT_DEVICE static int64_t Sum(int64_t value) { return value; }
};

// A count: plane (n, c), or unit n; and its slots, one for each piece with bits of it.
struct Unit {
  int64_t n, c;
  int64_t count;                       // of slots
  const uint64_t *first_slot, *slots;  // slot k: the first, or at slots[k * step]
  int64_t step;
};

// The sum of the slots into `kept`; false if one is not there. From the last piece on, whose slot is the likeliest not
// to be; several loads at once, because the last block of all waits for every one.
template <class Team, int kAtOnce>
DROPKIT_DEVICE bool SumSlots(const Unit& unit, uint64_t stamp, int64_t* kept) {
  const int lanes = static_cast<int>(Team::Lanes());
  int64_t sum = 0;
  for (int64_t top = unit.count - 1; top >= 0; top -= kAtOnce * lanes) {
    uint64_t slot[kAtOnce];
    DROPKIT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t k = top - Team::Lane() - i * lanes;
      slot[i] = k < 0 ? stamp : ReadSlot(k == 0 ? unit.first_slot : unit.slots + k * unit.step);
    }
    bool missing = false;
    DROPKIT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      missing = missing || (slot[i] ^ stamp) >> kStampShift != 0;
      sum += static_cast<int64_t>(slot[i] & ((1u << kStampShift) - 1));
    }
    if (Team::Any(missing)) return false;
  }
  *kept = Team::Sum(sum);
  return true;
}

// `kept` of a unit's bits are in this piece, whose slot for it is `own`.
template <class Team>
DROPKIT_DEVICE void FinishUnit(const Counting& counting, const Pieces& pieces, const Unit& unit, int64_t kept,
                               uint64_t* own, uint64_t stamp) {
  if (unit.count > 1) {
    if (Team::Lane() == 0) {
      WriteSlot(own, stamp | static_cast<uint64_t>(kept));
      __threadfence();
    }
    Team::Meet();  // all read after the fence
    constexpr int kFew = 4, kMany = 16;
    const bool many = Team::Lanes() > 1 && unit.count > kFew * Team::Lanes();
    const bool whole = many ? SumSlots<Team, kMany>(unit, stamp, &kept) : SumSlots<Team, kFew>(unit, stamp, &kept);
    if (!whole) return;
  }
  StoreKept(counting, pieces, unit.n, unit.c, kept * counting.weight, Team::Lane(), Team::Lanes());
}

// ---------------------------------------------------------------- ranges

// Of pieces that are ranges, a unit whose bits lie in [first, last]; `channel` of those that lie interleaved there. A
// piece has a slot for the unit that it begins with or in, and another for the one that it ends in.
DROPKIT_DEVICE Unit UnitOfRange(const Counting& counting, const Pieces& pieces, int64_t n, int64_t c, int64_t first,
                                int64_t last, int64_t channel) {
  const int64_t p0 = Divide(first, pieces.piece_bits), p1 = Divide(last, pieces.piece_bits);
  const uint64_t* slots = counting.slots + p0 * counting.slots_of_piece + channel;
  const bool leads = p0 * pieces.piece_bits >= first;  // the unit is its first piece's first
  return {n, c, p1 - p0 + 1, leads ? slots : slots + counting.channels, slots, counting.slots_of_piece};
}

inline constexpr int64_t kSmallUnitBits = 512;  // a thread counts as many in the time that a warp takes to meet

// Kept bits of [begin, end) of the memory; this thread's part of the work of `lanes`.
DROPKIT_DEVICE int CountPart(int begin, int end, unsigned lane, unsigned lanes) {
  int count = 0;
  for (int word = (begin >> 5) + static_cast<int>(lane); word * 32 < end; word += static_cast<int>(lanes)) {
    uint32_t value = Memory().bits[word];
    if (word * 32 < begin) value &= ~0u << (begin & 31);
    if (word * 32 + 32 > end) value &= ~0u >> (32 - (end & 31));
    count += __popc(value);
  }
  return count;
}

// Counts whose bits follow each other, of the piece [begin, end): of a few by the whole block, of many by a warp each,
// of many small ones by a thread each.
DROPKIT_DEVICE void CountRuns(const Counting& counting, const Pieces& pieces, int64_t piece, int64_t begin, int64_t end,
                              uint64_t stamp) {
  const int64_t bits = counting.unit_bits, u0 = Divide(begin, bits), u1 = Divide(end - 1, bits);
  const bool few = u1 - u0 < kFewUnits;
  const auto part_of = [&](int64_t u, unsigned lane, unsigned lanes) {
    const int64_t first = Most(u * bits, begin) - begin, last = Least((u + 1) * bits, end) - begin;
    return CountPart(static_cast<int>(first), static_cast<int>(last), lane, lanes);
  };
  if (few) {
    for (int64_t u = u0; u <= u1; ++u) {
      const int kept = WarpSum(part_of(u, threadIdx.x, blockDim.x));
      if (threadIdx.x % 32 == 0) atomicAdd(&Memory().kept[u - u0], kept);
    }
    __syncthreads();
  }
  uint64_t* slots = counting.slots + piece * counting.slots_of_piece;
  const auto unit_of = [&](int64_t u) {
    const int64_t n = counting.of == CountOf::kPlane ? Divide(u, pieces.channels) : u;
    return UnitOfRange(counting, pieces, n, u - n * pieces.channels, u * bits, u * bits + bits - 1, 0);
  };
  if (!few && bits <= kSmallUnitBits) {
    for (int64_t u = u0 + threadIdx.x; u <= u1; u += blockDim.x) {
      FinishUnit<ThreadTeam>(counting, pieces, unit_of(u), part_of(u, 0, 1), slots + (u == u0 ? 0 : 1), stamp);
    }
    return;
  }
  for (int64_t u = u0 + threadIdx.x / 32; u <= u1; u += blockDim.x / 32) {
    const int64_t kept = few ? Memory().kept[u - u0] : WarpSum(part_of(u, threadIdx.x % 32, 32));
    FinishUnit<WarpTeam>(counting, pieces, unit_of(u), kept, slots + (u == u0 ? 0 : 1), stamp);
  }
}

// Counts of planes whose bits lie interleaved in the range, a thread each.
DROPKIT_DEVICE void CountInterleaved(const Counting& counting, const Pieces& pieces, int64_t piece, int64_t begin,
                                     int64_t end, uint64_t stamp) {
  const int64_t channels = pieces.channels, sample_bits = pieces.sample_bits;
  const int64_t n0 = Divide(begin, pieces.by_sample), n1 = Divide(end - 1, pieces.by_sample);
  for (int64_t i = threadIdx.x; i < (n1 - n0 + 1) * channels; i += blockDim.x) {
    const int64_t n = n0 + i / channels, c = i % channels, sample = n * sample_bits;
    const int64_t first = Most(sample, begin), stop = Least(sample + sample_bits, end);
    int64_t kept = 0;
    const int64_t into = (first - sample) % channels;  // the channel of the first bit
    for (int64_t bit = first + (c >= into ? c - into : c - into + channels); bit < stop; bit += channels) {
      kept += Memory().bits[(bit - begin) >> 5] >> ((bit - begin) & 31) & 1;
    }
    uint64_t* slots = counting.slots + piece * counting.slots_of_piece + c;
    const Unit unit = UnitOfRange(counting, pieces, n, c, sample, sample + sample_bits - 1, c);
    FinishUnit<ThreadTeam>(counting, pieces, unit, kept, slots + (n == n0 ? 0 : channels), stamp);
  }
}

// The piece [begin, end), whose bits the memory has. The whole block.
DROPKIT_DEVICE_CALL void CountRange(const Counting& counting, const Pieces& pieces, int64_t piece, int64_t begin,
                                    int64_t end, uint64_t stamp) {
  if (counting.channels > 1) return CountInterleaved(counting, pieces, piece, begin, end, stamp);
  CountRuns(counting, pieces, piece, begin, end, stamp);
}

// ---------------------------------------------------------------- boxes

// A box that DrawBox left in the memory. The whole block.
DROPKIT_DEVICE_CALL void CountBox(const Counting& counting, const Pieces& pieces, int64_t piece, const Part& box,
                                  uint64_t stamp) {
  const int width = static_cast<int>(pieces.box_channels), positions = static_cast<int>(box.q1 - box.q0);
  uint64_t* own = counting.slots + piece * counting.slots_of_piece;
  const int64_t of_sample = pieces.channel_parts.divisor * pieces.position_parts.divisor, before = box.n * of_sample;
  if (counting.of == CountOf::kPlane) {
    const int64_t step = pieces.channel_parts.divisor * width, first = before * width + box.c0;
    for (int c = static_cast<int>(threadIdx.x); c < width; c += static_cast<int>(blockDim.x)) {
      const int row = (kOutWords + c * box.row_words) * 32;
      const uint64_t* slots = counting.slots + first + c;
      const Unit unit = {box.n, box.c0 + c, pieces.position_parts.divisor, slots, slots, step};
      FinishUnit<ThreadTeam>(counting, pieces, unit, CountPart(row, row + positions, 0, 1), own + c, stamp);
    }
    return;
  }
  const int kept = WarpSum(CountPart(0, positions * width, threadIdx.x, blockDim.x));
  if (threadIdx.x % 32 == 0) atomicAdd(&Memory().kept[0], kept);
  __syncthreads();
  if (threadIdx.x >= 32) return;
  const bool of_tensor = counting.of == CountOf::kTensor;
  const uint64_t* slots = counting.slots + (of_tensor ? 0 : before);
  const Unit unit = {box.n, 0, of_tensor ? pieces.count : of_sample, slots, slots, 1};
  FinishUnit<WarpTeam>(counting, pieces, unit, Memory().kept[0], own, stamp);
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_COUNT_H_
