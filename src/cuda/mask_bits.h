// Which elements of a dense tensor are kept, read from a mask in global memory: what Apply gives ApplyRange as Bits.
//
// Every read is an aligned 16-byte vector of the mask, though a few bits of it are wanted: neighbours want the same
// one, which the first-level cache hands to all of them, and no access of the main loop is narrow. A mask with an odd
// number of words ends in half a vector; that word is read once, before the loop. Assumes bits at a 16-byte boundary;
// ApplyElements (apply.cu) takes others.
#ifndef DROPKIT_SRC_CUDA_MASK_BITS_H_
#define DROPKIT_SRC_CUDA_MASK_BITS_H_

#include <cstdint>

#include "bits.h"
#include "cuda/grid.h"
#include "cuda/pack.h"
#include "cuda/quotient.h"
#include "loop.h"

namespace dropkit::cuda {

// Words of a mask as vectors.
class MaskVectors {
 public:
  DROPKIT_DEVICE MaskVectors(const uint64_t* bits, int64_t words)
      : vectors_(reinterpret_cast<const uint4*>(bits)),
        half_(words % 2 == 0 ? -1 : words / 2),
        last_(words % 2 == 0 ? 0 : bits[words - 1]) {}

  DROPKIT_DEVICE uint4 At(int64_t index) const {
    if (index != half_) return vectors_[index];
    uint4 vector = {};
    vector.x = Low32(last_);
    vector.y = High32(last_);
    return vector;
  }

  // `count` (at most 32) bits from `bit` on, lowest first; above them is anything. `aligned`: they are known to lie in
  // one 32-bit word.
  DROPKIT_DEVICE uint32_t Load(int64_t bit, int count, bool aligned) const {
    const uint4 vector = At(bit >> 7);
    const int word = static_cast<int>(bit >> 5) & 3, shift = static_cast<int>(bit) & 31;
    uint64_t wide = WordOf(vector, word);
    if (!aligned && shift + count > 32) {
      const uint32_t next = word < 3 ? WordOf(vector, word + 1) : At((bit >> 7) + 1).x;
      wide |= uint64_t{next} << 32;
    }
    return static_cast<uint32_t>(wide >> shift);
  }

 private:
  // Selected in registers: an index would put the vector into memory.
  DROPKIT_DEVICE static uint32_t WordOf(uint4 vector, int word) {
    const uint32_t low = (word & 1) != 0 ? vector.y : vector.x, high = (word & 1) != 0 ? vector.w : vector.z;
    return (word & 2) != 0 ? high : low;
  }

  const uint4* vectors_;
  int64_t half_;  // index of the vector that has one word, or -1
  uint64_t last_;
};

// From an element's number to its bit by the axes of the tensor, innermost first; what is left of the number after them
// counts the outermost one.
struct BitMap {
  Quotient size[4];
  int64_t step[4] = {};
  int dims = 1;  // of those; at least 1
  int64_t outer_step = 0;
  // Of the innermost axis: all of it has one bit; or no two bits of it are neighbours.
  bool one_bit = false, alone = false;
  bool narrow = false;  // element numbers are below 2^31
};

// Along the axes that elements are numbered by.
inline BitMap BitMapOf(const Loop& loop) {
  BitMap map;
  map.dims = loop.dims > 1 ? loop.dims - 1 : 1;
  for (int i = 0; i < map.dims; ++i) {
    const Step& step = loop.step[loop.dims - 1 - i];
    map.size[i] = Quotient::By(step.size);
    map.step[i] = step.bit;
  }
  if (loop.dims > 1) map.outer_step = loop.step[0].bit;
  map.one_bit = loop.inner().bit == 0;
  map.alone = loop.inner().bit > 1;
  map.narrow = loop.rows() * loop.inner().size <= Quotient::kMostNarrow;
  return map;
}

// Element e has bit e. kStraddles: a vector's bits may lie in two words, because x does not start at a boundary.
template <bool kStraddles>
class GlobalDirect {
 public:
  static constexpr int kBlocksAtOnce = 3;  // of a multiprocessor, at least: what leaves enough registers to spill none
  DROPKIT_DEVICE GlobalDirect(const MaskVectors& mask, const BitMap&) : mask_(mask) {}
  DROPKIT_DEVICE uint32_t Keep(int64_t e, int count) const { return mask_.Load(e, count, !kStraddles); }

 private:
  MaskVectors mask_;
};

// Source has the bits: MaskVectors, or another with its Load. Number: of elements; uint32_t where the map is narrow, so
// that no division is one of 64 bits.
template <class Source, typename Number = int64_t>
class Mapped {
 public:
  static constexpr int kBlocksAtOnce = sizeof(Number) == sizeof(uint32_t) ? 3 : 2;
  DROPKIT_DEVICE Mapped(const Source& source, const BitMap& map) : source_(source), map_(map) {}

  DROPKIT_DEVICE uint32_t Keep(int64_t e, int count) const {
    uint32_t keep = 0;
    for (int done = 0; done < count;) {
      const Spot spot = Find(static_cast<Number>(e + done));
      const Number wanted = static_cast<Number>(count - done);
      const int run = static_cast<int>(spot.left < wanted ? spot.left : wanted);
      const uint32_t bits = source_.Load(spot.bit, map_.one_bit ? 1 : run, false);
      const uint32_t all = (1u << run) - 1;
      keep |= (map_.one_bit ? ((bits & 1) != 0 ? all : 0) : bits & all) << done;
      done += run;
    }
    return keep;
  }

 private:
  struct Spot {
    int64_t bit;
    Number left;  // how many elements from here on have bits that follow each other, or this one
  };

  DROPKIT_DEVICE Spot Find(Number e) const {
    Spot spot = {0, 0};
    DROPKIT_UNROLL
    for (int i = 0; i < 4; ++i) {
      if (i >= map_.dims) continue;
      const Number size = static_cast<Number>(map_.size[i].divisor);
      const Number rest = map_.size[i].Of(e);
      const Number at = e - rest * size;
      if (i == 0) spot.left = map_.alone ? 1 : size - at;
      spot.bit += at * map_.step[i];
      e = rest;
    }
    spot.bit += e * map_.outer_step;
    return spot;
  }

  Source source_;
  const BitMap& map_;
};
template <typename Number>
using GlobalMapped = Mapped<MaskVectors, Number>;

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_MASK_BITS_H_
