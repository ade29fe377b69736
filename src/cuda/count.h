// Counts of kept elements, in the launch that draws them: no memory has to be cleared before, nothing runs after.
//
// A count's bits (a sample's, a plane's, or the whole tensor's) may lie in several pieces. Each block leaves its part
// in a slot of the workspace, and then looks whether the slots of all the count's pieces are there: at least the block
// that is last, by the order of the fences, sees them all, and writes their sum; when several do, they write the same.
// A slot is there if it bears the stamp of this draw, which is made of all that its number depends on: what an earlier
// launch left in the same memory either has another stamp or has the right number. (A stamp has 44 bits.) A mask of
// given bytes has no key to make a stamp of, so its slots are cleared before.
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
  uint64_t shape = 0;               // of what the numbers depend on beside the key and T
  int64_t unit_bits = 1;            // of a count, where its bits follow each other
  int64_t channels = 1;             // counts of a sample that lie interleaved; else 1
  int64_t weight = 1;               // elements that a bit stands for in its count
  int64_t samples = 1, planes = 1;  // of x: a shared mask's counts are written for each
  int64_t slots_of_piece() const { return 2 * channels; }
};

inline constexpr int kStampShift = 20;
static_assert(kMostPieceBits < 1 << kStampShift);

DROPKIT_DEVICE_CALL uint64_t StampOf(const Counting& counting, const Drawn& drawn, bool has_key) {
  const CallKey key = has_key ? drawn.overlay_key() : CallKey{{0, 0}};
  const Words4 words =
      Philox({{Low32(counting.shape), High32(counting.shape), Low32(drawn.threshold), High32(drawn.threshold)}}, key);
  return (words.word[0] | uint64_t{words.word[1]} << 32 | 1u) << kStampShift;
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

// Who counts a unit together: a warp, where a piece has many; the block, where a warp would take longer to count than
// the block to draw.
struct WarpTeam {
  DROPKIT_DEVICE static unsigned Lane() { return threadIdx.x % 32; }
  DROPKIT_DEVICE static unsigned Lanes() { return 32; }
  DROPKIT_DEVICE static void Meet() { __syncwarp(); }
  DROPKIT_DEVICE static bool Any(bool value) { return __ballot_sync(0xFFFFFFFFu, value) != 0; }
  DROPKIT_DEVICE static int64_t Sum(int64_t value) { return WarpSum(value); }
};

struct BlockTeam {
  DROPKIT_DEVICE static unsigned Lane() { return threadIdx.x; }
  DROPKIT_DEVICE static unsigned Lanes() { return blockDim.x; }
  DROPKIT_DEVICE static void Meet() { __syncthreads(); }
  DROPKIT_DEVICE static bool Any(bool value) { return Sum(value) != 0; }
  DROPKIT_DEVICE_CALL static int64_t Sum(int64_t value) {
    __shared__ int64_t of_warp[32];
    value = WarpSum(value);
    __syncthreads();  // the last sum has been read
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    int64_t sum = 0;
    for (unsigned warp = 0; warp < blockDim.x / 32; ++warp) sum += of_warp[warp];
    return sum;
  }
};

inline constexpr int64_t kTeamOfBlockBits = 1 << 14;  // of a unit in a piece: more are counted by the block

// Of bits [begin, end) of `bits`; this thread's part of the team's count.
template <class Team>
DROPKIT_DEVICE int CountPart(const uint32_t* bits, int64_t begin, int64_t end) {
  int count = 0;
  for (int64_t word = (begin >> 5) + Team::Lane(); word * 32 < end; word += Team::Lanes()) {
    uint32_t value = bits[word];
    if (word * 32 < begin) value &= ~static_cast<uint32_t>(LowMask(begin - word * 32));
    if (word * 32 + 32 > end) value &= static_cast<uint32_t>(LowMask(end - word * 32));
    count += __popc(value);
  }
  return count;
}

// The sum of unit u's slots into `kept`; false if one is not there. From the last piece on, whose slot is the likeliest
// not to be; several loads at once, because the last block of all waits for every one.
template <class Team>
DROPKIT_DEVICE bool SumSlots(const Counting& counting, const Pieces& pieces, int64_t first, int64_t last,
                             uint64_t stamp, int64_t* kept) {
  constexpr int kAtOnce = 8;
  const int64_t p0 = Divide(first, pieces.piece_bits), p1 = Divide(last, pieces.piece_bits);
  const int64_t lanes = Team::Lanes();
  int64_t sum = 0;
  for (int64_t end = p1 - Team::Lane(), top = p1; top >= p0; top -= kAtOnce * lanes, end -= kAtOnce * lanes) {
    uint64_t slot[kAtOnce];
    DROPKIT_UNROLL
    for (int i = 0; i < kAtOnce; ++i) {
      const int64_t p = end - i * lanes;
      const bool leads = p * pieces.piece_bits >= first;  // the unit is its piece's first
      slot[i] = p >= p0 ? ReadSlot(counting.slots + p * 2 + (leads ? 0 : 1)) : stamp;
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

// Unit u's part in the piece [begin, end), whose bits are `bits`, by a team; `slot` is the part's own.
template <class Team>
DROPKIT_DEVICE void CountUnit(const Counting& counting, const Pieces& pieces, int64_t u, int64_t begin, int64_t end,
                              const uint32_t* bits, uint64_t stamp, uint64_t* slot) {
  const int64_t first = u * counting.unit_bits, last = first + counting.unit_bits - 1;
  int64_t kept = Team::Sum(CountPart<Team>(bits, Most(first, begin) - begin, Least(last + 1, end) - begin));
  if (first < begin || last >= end) {
    if (Team::Lane() == 0) {
      WriteSlot(slot, stamp | static_cast<uint64_t>(kept));
      __threadfence();
    }
    Team::Meet();  // all read after the fence
    if (!SumSlots<Team>(counting, pieces, first, last, stamp, &kept)) return;
  }
  const int64_t n = counting.of == CountOf::kPlane ? Divide(u, pieces.channels) : u;
  StoreKept(counting, pieces, n, u - n * pieces.channels, kept * counting.weight, Team::Lane(), Team::Lanes());
}

// Counts whose bits follow each other. `bits` are those of the piece [begin, end).
DROPKIT_DEVICE void CountRuns(const Counting& counting, const Pieces& pieces, int64_t piece, int64_t begin, int64_t end,
                              const uint32_t* bits, uint64_t stamp) {
  const int64_t u0 = Divide(begin, counting.unit_bits), u1 = Divide(end - 1, counting.unit_bits);
  uint64_t* slots = counting.slots + piece * 2;
  if (end - begin >= kTeamOfBlockBits * (u1 - u0 + 1)) {
    for (int64_t u = u0; u <= u1; ++u) {
      CountUnit<BlockTeam>(counting, pieces, u, begin, end, bits, stamp, slots + (u == u0 ? 0 : 1));
    }
    return;
  }
  for (int64_t u = u0 + threadIdx.x / 32; u <= u1; u += blockDim.x / 32) {
    CountUnit<WarpTeam>(counting, pieces, u, begin, end, bits, stamp, slots + (u == u0 ? 0 : 1));
  }
}

// Counts of planes whose bits lie interleaved, a thread each.
DROPKIT_DEVICE void CountInterleaved(const Counting& counting, const Pieces& pieces, int64_t piece, int64_t begin,
                                     int64_t end, const uint32_t* bits, uint64_t stamp) {
  const int64_t channels = pieces.channels, sample_bits = pieces.sample_bits;
  const int64_t n0 = Divide(begin, sample_bits), n1 = Divide(end - 1, sample_bits);
  for (int64_t i = threadIdx.x; i < (n1 - n0 + 1) * channels; i += blockDim.x) {
    const int64_t n = n0 + i / channels, c = i % channels, sample = n * sample_bits;
    const int64_t first = Most(sample, begin), stop = Least(sample + sample_bits, end);
    int64_t kept = 0;
    const int64_t into = (first - sample) % channels;  // the channel of the first bit
    for (int64_t bit = first + (c >= into ? c - into : c - into + channels); bit < stop; bit += channels) {
      kept += bits[(bit - begin) >> 5] >> ((bit - begin) & 31) & 1;
    }
    bool complete = first == sample && stop == sample + sample_bits;
    if (!complete) {
      WriteSlot(counting.slots + (piece * 2 + (n == n0 ? 0 : 1)) * channels + c, stamp | static_cast<uint64_t>(kept));
      __threadfence();
      complete = true;
      kept = 0;
      const int64_t p0 = Divide(sample, pieces.piece_bits), p1 = Divide(sample + sample_bits - 1, pieces.piece_bits);
      for (int64_t p = p1; complete && p >= p0; --p) {
        const bool leads = Divide(p * pieces.piece_bits, sample_bits) == n;
        const uint64_t slot = ReadSlot(counting.slots + (p * 2 + (leads ? 0 : 1)) * channels + c);
        complete = (slot ^ stamp) >> kStampShift == 0;
        kept += static_cast<int64_t>(slot & ((1u << kStampShift) - 1));
      }
    }
    if (complete) StoreKept(counting, pieces, n, c, kept * counting.weight, 0, 1);
  }
}

// The whole block.
DROPKIT_DEVICE_CALL void CountPiece(const Counting& counting, const Pieces& pieces, int64_t piece, int64_t begin,
                                    int64_t end, uint64_t stamp) {
  const uint32_t* bits = Memory().bits;
  if (counting.channels > 1) return CountInterleaved(counting, pieces, piece, begin, end, bits, stamp);
  CountRuns(counting, pieces, piece, begin, end, bits, stamp);
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_COUNT_H_
