// Sample, Spread and Pack on the device: one launch each, which draws the bits, stores them and counts them.
//
// Memory plan: each block draws pieces of the mask in its shared memory (draw_bits.h) and writes every word once;
// counts are summed through the workspace (count.h). Nothing else is read but key, p or the given bytes.
#include <algorithm>
#include <bit>

#include "cuda/apply_range.h"
#include "cuda/cuda.h"
#include "cuda/mask_writer.h"
#include "cuda/runtime.h"
#include "validate.h"

namespace dropkit::cuda {
namespace {

// Each block's share of it.
DROPKIT_DEVICE void FetchAhead(const Ahead& ahead) {
  const int64_t share = RoundUp((ahead.bytes + gridDim.x - 1) / gridDim.x, 128), begin = blockIdx.x * share;
  FetchByBlock(static_cast<const char*>(ahead.memory) + begin, Least(share, ahead.bytes - begin));
}

__global__ void __launch_bounds__(kBlockThreads, kDrawingBlocks)
    SampleKernel(const __grid_constant__ MaskWriter writer) {
  __shared__ Drawn drawn;
  FetchAhead(writer.ahead);
  PrepareDrawn(writer.field, &drawn);
  StoreThreshold(writer, drawn);
  const uint64_t stamp = StampOf(writer.counting, drawn, writer.field.key != nullptr);
  for (int64_t piece = blockIdx.x; piece < writer.pieces.count; piece += gridDim.x) {
    WritePiece(writer, drawn, stamp, piece);
    __syncthreads();
  }
}

__global__ void FinishEmptyKernel(const float* p, uint64_t host_threshold, uint64_t* threshold, int64_t* kept,
                                  int64_t num_kept) {
  for (int64_t i = threadIdx.x; i < num_kept; i += blockDim.x) kept[i] = 0;
  if (threadIdx.x == 0 && threshold) *threshold = p ? ThresholdOf(*p) : host_threshold;
}

// ---------------------------------------------------------------- what the kernel is told

Pieces PiecesOf(const Plan& plan, const Mask& mask, Cut cut) {
  const int64_t step = cut == Cut::kFine ? int64_t{kBlockThreads} * kInFlight * kVectorBytes / 2 : kVectorBits;
  const Pieces pieces = MakePieces(plan, mask, int64_t{static_cast<int>(cut)} * Multiprocessors(), step);
  // Every range has slots for all channels then, so the largest ones.
  const bool counts_channels = mask.spec.over == Over::kPlane && pieces.interleaved && !pieces.are_boxes();
  return counts_channels ? MakePieces(plan, mask, 1) : pieces;
}

uint64_t Mix(uint64_t hash, uint64_t value) {  // FNV-1a's step, with the high half folded in
  hash = (hash ^ value) * 0x100000001B3u;
  return hash ^ hash >> 32;
}

// Everything but T and the key that a piece's count depends on.
uint64_t ShapeHash(const Field& field, const Pieces& pieces, const Counting& counting) {
  uint64_t hash = 0xCBF29CE484222325u;
  const Spec& spec = field.spec;
  for (const Axis& axis : field.axis) {
    for (const int64_t value : {axis.size, axis.block, axis.positions, axis.before}) {
      hash = Mix(hash, static_cast<uint64_t>(value));
    }
  }
  for (const int64_t value :
       {int64_t{static_cast<int>(spec.method)}, int64_t{static_cast<int>(spec.rate)}, field.plan.lanes,
        int64_t{field.plan.shares_batch}, int64_t{field.missing_axes}, int64_t{pieces.interleaved}, pieces.num_bits,
        pieces.channels, pieces.map_bits, pieces.piece_bits, pieces.box_channels, pieces.box_positions,
        counting.unit_bits, int64_t{static_cast<int>(counting.of)}}) {
    hash = Mix(hash, static_cast<uint64_t>(value));
  }
  hash = Mix(Mix(hash, std::bit_cast<uint64_t>(spec.gamma_scale)), field.first_sample);
  // Slots that are moved hold numbers of other pieces.
  return Mix(hash, reinterpret_cast<uintptr_t>(counting.slots));
}

Field FieldOf(const Spec& spec, const Plan& plan, Probability p, Key key, const Mask& mask) {
  Field field;
  field.spec = spec;
  field.plan = plan;
  field.coverage = NeedsCoverage(spec) ? MakeCoverage(plan) : Coverage{};
  field.missing_axes = 3 - mask.spatial_dims;
  field.outer_axis = std::min(2, field.missing_axes);
  for (int i = 0; i < mask.spatial_dims; ++i) field.axis[field.missing_axes + i] = plan.axis[i];
  field.key = key;
  field.p = p.device;
  field.first_sample = static_cast<uint64_t>(mask.first_sample);
  field.draws_centres = spec.method == Method::kCutout;
  SetQuotients(&field);
  if (!p.device) {
    field.threshold = ThresholdOf(p.value);
    field.law = MakeLaneLaw(LaneThreshold(spec, plan, field.coverage, field.threshold));
  }
  return field;
}

Counting CountingOf(const Plan& plan, const Pieces& pieces, const Mask& mask) {
  Counting counting;
  const int64_t cells_of_bit = plan.has_map ? 1 : plan.cells, planes_of_bit = mask.channels / pieces.channels;
  counting.kept = mask.kept;
  counting.samples = mask.samples;
  counting.planes = mask.channels;
  if (mask.spec.over == Over::kPlane) {
    counting.of = CountOf::kPlane;
    counting.unit_bits = pieces.map_bits;
    counting.channels = pieces.interleaved && !pieces.are_boxes() ? pieces.channels : 1;
    counting.weight = cells_of_bit;
  } else if (mask.one_count) {
    counting.of = CountOf::kTensor;
    counting.unit_bits = pieces.num_bits;
    counting.weight = cells_of_bit * planes_of_bit * (mask.samples / pieces.samples);
  } else {
    counting.unit_bits = pieces.sample_bits;
    counting.weight = cells_of_bit * planes_of_bit;
  }
  counting.slots_of_piece = !pieces.are_boxes()              ? 2 * counting.channels
                            : counting.of == CountOf::kPlane ? pieces.box_channels
                                                             : 1;
  return counting;
}

// A mask from the caller's bytes: seeds that fire, or (Pack) elements that are kept.
Status FromBytes(const Spec& spec, Probability p, const uint8_t* bytes, bool marks_kept, const View& x,
                 const Exec& exec, Mask* mask) {
  MaskWriter writer;
  if (Status status = MakeMaskWriter(spec, p, nullptr, x, exec, *mask, Cut::kCoarse, &writer); !status.ok())
    return status;
  Field& field = writer.field;
  if (spec.method == Method::kCutout) {  // a given seed is a centre's position, not a hole
    field.plan.lanes_per_channel = field.plan.positions;
    field.plan.lanes = field.plan.lane_channels * field.plan.lanes_per_channel;
    field.draws_centres = false;
  }
  SetQuotients(&field);
  field.given = bytes;
  field.given_marks_kept = marks_kept;
  if (Status status = Zero(exec.scratch, WorkspaceBytes(spec, x), exec.stream); !status.ok()) return status;
  return LaunchSample(writer, exec);
}

}  // namespace

int Blocks(int64_t pieces) {
  return static_cast<int>(std::min<int64_t>(pieces, int64_t{kDrawingBlocks} * Multiprocessors()));
}

Status LaunchSample(const MaskWriter& writer, const Exec& exec) {
  return Launch(SampleKernel, Blocks(writer.pieces.count), kBlockThreads, exec.stream, writer);
}

Status MakeMaskWriter(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, const Mask& mask,
                      Cut cut, MaskWriter* writer) {
  Plan plan;
  if (Status status = MakePlan(spec, x, &plan); !status.ok()) return status;
  writer->field = FieldOf(spec, plan, p, key, mask);
  writer->pieces = PiecesOf(plan, mask, cut);
  writer->counting = CountingOf(plan, writer->pieces, mask);
  writer->counting.slots = static_cast<uint64_t*>(exec.scratch);
  writer->counting.shape = ShapeHash(writer->field, writer->pieces, writer->counting);
  writer->bits = mask.bits;
  writer->threshold = mask.threshold;
  return Status();
}

size_t WorkspaceBytes(const Spec& spec, const View& x) {
  Plan plan;
  Mask mask;
  if (!Describe(spec, x, &mask).ok() || mask.num_bits == 0 || !MakePlan(spec, x, &plan).ok()) return 0;
  int64_t slots = 0;
  for (const Cut cut : {Cut::kCoarse, Cut::kFine}) {
    const Pieces pieces = PiecesOf(plan, mask, cut);
    slots = std::max(slots, pieces.count * CountingOf(plan, pieces, mask).slots_of_piece);
  }
  return static_cast<size_t>(slots) * sizeof(uint64_t);
}

Status Sample(const Spec& spec, Probability p, Key key, const View& x, const Exec& exec, Mask* mask) {
  MaskWriter writer;
  if (Status status = MakeMaskWriter(spec, p, key, x, exec, *mask, Cut::kCoarse, &writer); !status.ok()) return status;
  return LaunchSample(writer, exec);
}

Status Spread(const Spec& spec, Probability p, const uint8_t* seeds, const View& x, const Exec& exec, Mask* mask) {
  return FromBytes(spec, p, seeds, false, x, exec, mask);
}

Status Pack(const Spec& spec, Probability p, const uint8_t* keep, const View& x, const Exec& exec, Mask* mask) {
  return FromBytes(spec, p, keep, true, x, exec, mask);
}

Status FinishEmpty(Probability p, const Mask& mask, const Exec& exec) {
  const uint64_t threshold = p.device ? 0 : ThresholdOf(p.value);
  return Launch(FinishEmptyKernel, 1, kBlockThreads, exec.stream, p.device, threshold, mask.threshold, mask.kept,
                mask.kept ? mask.num_kept : 0);
}

}  // namespace dropkit::cuda
