// A whole mask on the device: pieces drawn, stored and counted. What the kernels of sample.cu and drop.cu share, and
// how the host describes it to them.
#ifndef DROPKIT_SRC_CUDA_MASK_WRITER_H_
#define DROPKIT_SRC_CUDA_MASK_WRITER_H_

#include "cuda/count.h"

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
enum class Cut : int { kCoarse = 4, kFine = 24 };

// On the host, from validated arguments; drawn with `key`, unless `field.given` is set afterwards. `slots` is
// workspace.
Status MakeMaskWriter(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, const Mask& mask,
                      Cut cut, MaskWriter* writer);
int Blocks(int64_t pieces);
Status LaunchSample(const MaskWriter& writer, const Exec& exec);

// Blocks of a multiprocessor at once, at least, of kernels that draw.
inline constexpr int kDrawingBlocks = 4;

// The piece's words of the mask, from shared memory, 128 bits at once where the mask allows.
DROPKIT_DEVICE_CALL void StorePiece(const MaskWriter& writer, int64_t begin, int64_t end) {
  uint32_t* out = Memory().bits;
  const int64_t words = (end - begin + 31) / 32;
  if (threadIdx.x == 0) {  // bits past the mask's last are 0; its words have 64
    if ((end - begin) % 32 != 0) out[words - 1] &= static_cast<uint32_t>(LowMask((end - begin) % 32));
    if (words % 2 != 0) out[words] = 0;
  }
  __syncthreads();
  auto* to = reinterpret_cast<uint32_t*>(writer.bits) + begin / 32;
  const int64_t vectors = reinterpret_cast<uintptr_t>(to) % 16 == 0 ? words / 4 : 0;
  for (int64_t i = threadIdx.x; i < vectors; i += blockDim.x) {
    reinterpret_cast<uint4*>(to)[i] = {out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3]};
  }
  for (int64_t i = 4 * vectors + threadIdx.x; i < (words + 1) / 2 * 2; i += blockDim.x) to[i] = out[i];
}

DROPKIT_DEVICE void StoreThreshold(const MaskWriter& writer, const Drawn& drawn) {
  if (blockIdx.x == 0 && threadIdx.x == 0) *writer.threshold = drawn.threshold;
}

// Draws, stores and counts a piece, whose bits the memory has first when it returns. The whole block.
DROPKIT_DEVICE void WritePiece(const MaskWriter& writer, const Drawn& drawn, uint64_t stamp, int64_t piece) {
  const int64_t begin = piece * writer.pieces.piece_bits;
  const int64_t end = Least(begin + writer.pieces.piece_bits, writer.pieces.num_bits);
  DrawBits(writer.field, drawn, writer.pieces, begin, end);
  StorePiece(writer, begin, end);
  CountPiece(writer.counting, writer.pieces, piece, begin, end, stamp);
}

}  // namespace dropkit::cuda

#endif  // DROPKIT_SRC_CUDA_MASK_WRITER_H_
