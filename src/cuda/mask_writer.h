// A whole mask on the device: pieces drawn, stored and counted. What the kernels of sample.cu and drop.cu share, and
// how the host describes it to them.
#ifndef DROPKIT_SRC_CUDA_MASK_WRITER_H_
#define DROPKIT_SRC_CUDA_MASK_WRITER_H_

#include "cuda/count.h"
#include "cuda/pack.h"

namespace dropkit::cuda {

// Memory that a launch after this one reads: drawing leaves the bus idle, so it is fetched into the second-level cache
// meanwhile.
struct Ahead {
  const void* memory = nullptr;
  int64_t bytes = 0;
};

struct MaskWriter {
  Field field;
  Pieces pieces;
  Counting counting;
  uint64_t* bits = nullptr;
  uint64_t* threshold = nullptr;
  Ahead ahead;
};

// Pieces for each multiprocessor. To write a mask alone, one for each block that it has at once; where x is read too,
// more, so that some blocks draw while others wait for memory.
enum class Cut : int { kCoarse = 4, kFine = 12 };

// On the host, from validated arguments; drawn with `key`, unless `field.given` is set afterwards. `slots` is
// workspace.
Status MakeMaskWriter(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, const Mask& mask,
                      Cut cut, MaskWriter* writer);
int Blocks(int64_t pieces);
Status LaunchSample(const MaskWriter& writer, const Exec& exec);

// Blocks of a multiprocessor at once that kernels that draw have registers for. Where there is less shared memory than
// on 8.0 or 9.0, fewer of them are there at once, and the others wait.
inline constexpr int kDrawingBlocks = 4;

// The range's words of the mask, from the memory, 128 bits at once where the mask allows.
DROPKIT_DEVICE_CALL void StoreRange(const MaskWriter& writer, int64_t begin, int64_t end) {
  uint32_t* out = Memory().bits;
  const int bits = static_cast<int>(end - begin), words = (bits + 31) / 32;
  if (threadIdx.x == 0) {  // bits past the mask's last are 0; its words have 64
    if (bits % 32 != 0) out[words - 1] &= ~0u >> (32 - bits % 32);
    if (words % 2 != 0) out[words] = 0;
  }
  __syncthreads();
  auto* to = reinterpret_cast<uint32_t*>(writer.bits) + begin / 32;
  const int threads = static_cast<int>(blockDim.x), thread = static_cast<int>(threadIdx.x);
  const int vectors = reinterpret_cast<uintptr_t>(to) % 16 == 0 ? words / 4 : 0;
  for (int i = thread; i < vectors; i += threads) {
    StoreVector(to + 4 * i, {out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3]});
  }
  for (int i = 4 * vectors + thread; i < (words + 1) / 2 * 2; i += threads) to[i] = out[i];
}

// The box's words: for each position those of its channels, which are two or more neighbours in most boxes.
DROPKIT_DEVICE_CALL void StoreBox(const MaskWriter& writer, int64_t piece, const Part& box) {
  const Pieces& pieces = writer.pieces;
  auto* mask = reinterpret_cast<uint32_t*>(writer.bits);
  const int words = static_cast<int>(pieces.box_words.divisor), all = static_cast<int>(box.q1 - box.q0) * words;
  const int64_t step = pieces.channels / 32, first = (box.n * pieces.map_bits + box.q0) * step + box.c0 / 32;
  for (int i = static_cast<int>(threadIdx.x); i < all; i += static_cast<int>(blockDim.x)) {
    const int position = static_cast<int>(pieces.box_words.Of(static_cast<uint32_t>(i)));
    mask[first + position * step + (i - position * words)] = Memory().bits[i];
  }
  const int64_t end = pieces.num_bits / 32;  // its words have 64
  if (piece == pieces.count - 1 && threadIdx.x == 0 && end % 2 != 0) mask[end] = 0;
}

DROPKIT_DEVICE void StoreThreshold(const MaskWriter& writer, const Drawn& drawn) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *writer.threshold = drawn.threshold;
}

// Draws, stores and counts a piece, which the memory has when it returns. The whole block.
DROPKIT_DEVICE void WritePiece(const MaskWriter& writer, const Drawn& drawn, uint64_t stamp, int64_t piece) {
  const Pieces& pieces = writer.pieces;
  if (pieces.are_boxes()) {
    const Part box = BoxAt(pieces, piece);
    DrawBox(writer.field, drawn, pieces, box);
    StoreBox(writer, piece, box);
    CountBox(writer.counting, pieces, piece, box, stamp);
    return;
  }
  const int64_t begin = piece * pieces.piece_bits, end = Least(begin + pieces.piece_bits, pieces.num_bits);
  DrawBits(writer.field, drawn, pieces, begin, end);
  StoreRange(writer, begin, end);
  CountRange(writer.counting, pieces, piece, begin, end, stamp);
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_MASK_WRITER_H_
