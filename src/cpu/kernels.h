// The inner loops of the cpu backend: a table of functions for each instruction set. Each loop is written once as
// vector code, in lanes.cc (drawing), rows.cc (applying) and words.cc (bits), and compiled by Highway for AVX2, AVX-512
// and NEON; portable.cc has plain twins of the first two, for every other machine and for the tests to compare with.
// Two loops have a second body in avx512_bf16.cc, for instructions that Highway 1.0.3 does not reach. All tables give
// the same bits.
#ifndef DROPKIT_SRC_CPU_KERNELS_H_
#define DROPKIT_SRC_CPU_KERNELS_H_

#include <cstdint>
#include <vector>

#include "bits.h"
#include "draw.h"
#include "dropkit/dropkit.h"

namespace dropkit::cpu {

// The overlay's marks of one tile are at most this many, in all its rounds.
inline constexpr int kMostMarks = 2 * kMostThresholds;
// Tiles of a call of draw_marks, and what its buffer must hold: their marks and as many places more as lanes are
// written before they are known to count.
inline constexpr int64_t kTilesAtOnce = 16, kMoreGroups = 15;
inline constexpr int64_t kMarksAtOnce = kTilesAtOnce * kMostMarks + kTilesAtOnce;

// Elements that follow each other, with a bit each: y = keep ? x * gain : fill.
struct DenseRow {
  const void* x;
  void* y;  // x itself or apart from it
  int64_t count;
  const uint64_t* bits;  // null: all are kept
  int64_t bit;           // of the first element
  double gain;           // rounded to f32 unless the elements are f64
  double fill;           // what it becomes in the element's type
  bool past_cache;       // store around the cache: x and y together are larger than it
};

// A block as words, at each of the 64 places that its first cell can have in a word: what is kept.
struct Pattern {
  static constexpr int kMostWords = 8;
  int words;  // 2, 4 or 8, of which the last are all ones
  alignas(64) uint64_t kept[64 * kMostWords];

  // For a block of rows x columns in a map whose rows are `stride` bits apart; 0 if it does not fit.
  static int WordsFor(int64_t rows, int64_t columns, int64_t stride) {
    const int64_t bits = (rows - 1) * stride + columns + 63;
    return bits <= 128 ? 2 : bits <= 256 ? 4 : bits <= 64 * kMostWords ? 8 : 0;
  }
};

// Where a lane's block starts, when no block is cut off: with r = lane / columns and c = r / rows, bit
// base + lane * lane_gap + r * row_gap + c * channel_gap.
struct BlockPlaces {
  static constexpr int64_t kMostPositions = int64_t{1} << 20;  // of columns and rows
  int64_t base, columns, rows, lane_gap, row_gap, channel_gap;
  int64_t end_word;  // of the task: clear_blocks touches no word from it on
};

struct Kernels {
  const char* isa;
  // The digit parts (docs/draws.md, section 5) of `count` groups of 128 lanes from `group` on: two words a group.
  // Writes up to kMoreGroups groups more than asked.
  void (*draw_digits)(const LaneLaw& law, CallKey key, uint32_t group, int64_t count, uint64_t sample, uint64_t* bits);
  // The overlay's marks in `count` (at most kTilesAtOnce) tiles from `tile` on, as lanes from the first tile's first
  // one on, in no order and with repetitions; returns their number. `marks` has kMarksAtOnce places.
  int64_t (*draw_marks)(const LaneLaw& law, CallKey key, uint32_t tile, int64_t count, uint64_t sample,
                        uint32_t* marks);
  // Clears the blocks of the lanes first + lanes[0 ... count), lanes[i] being below 512 kTilesAtOnce. A block too near
  // end_word is left: its lane goes to `left`, which may be `lanes`, and whose number returns.
  int64_t (*clear_blocks)(uint64_t* bits, const Pattern& pattern, const BlockPlaces& places, int64_t first,
                          const uint32_t* lanes, int64_t count, uint32_t* left);
  // Clears their first cells alone. All of a sample's bits are fewer than 2^31.
  void (*clear_first_cells)(uint64_t* bits, const BlockPlaces& places, int64_t first, const uint32_t* lanes,
                            int64_t count);
  // By element type, in the order of DType.
  void (*apply[4])(const DenseRow& row);
  // y = x with full-width loads and stores, around the cache if asked: what `dropkit bench` measures against.
  void (*copy)(const void* x, void* y, int64_t bytes, bool past_cache);
  // bits[i] &= bits[i - shift], as if all right sides were read first; the first `shift` bits stay. 0 < shift.
  void (*and_shifted)(uint64_t* bits, int64_t words, int64_t shift);
  // Bit j of word i becomes bit i of word j.
  void (*transpose)(uint64_t words[64]);
  int64_t (*popcount)(const uint64_t* words, int64_t count);
};

// The tables that this machine can run, best first; the last is portable.
const std::vector<Kernels>& RunnableKernels();
// An error if the environment's DROPKIT_ISA is not portable, avx2, avx512, avx512_bf16 or neon, or one that this
// machine lacks.
Status CheckKernels();
// The table in use: the one of DROPKIT_ISA, or the best.
const Kernels& ChosenKernels();
// For tests and benchmarks: `kernels` from the next call on; null: the environment's choice again.
void UseKernels(const Kernels* kernels);

// Each fills its part of a table; in lanes.cc, rows.cc, words.cc, portable.cc and avx512_bf16.cc.
enum class Isa { kPortable, kAvx2, kAvx512, kAvx512Bf16, kNeon };
void AddLanes(Isa isa, Kernels* kernels);
void AddRows(Isa isa, Kernels* kernels);
void AddWords(Isa isa, Kernels* kernels);
void AddPortable(Kernels* kernels);
void AddAvx512Bf16(Kernels* kernels);  // after the parts of AVX-512

}  // namespace dropkit::cpu

#endif  // DROPKIT_SRC_CPU_KERNELS_H_
