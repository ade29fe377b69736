// Apply's launches: which kernel, and how the tensor is cut into blocks. One launch a call, nothing else on the stream.
//
// The kernels are in apply_dense.h (16-byte vectors) and apply_elements.h (anything). Assumes valid arguments, as
// backend.h says; no pointer of the mask, x or y is followed here.
#include <algorithm>

#include "cuda/apply_dense.h"
#include "cuda/apply_elements.h"
#include "cuda/cuda.h"
#include "cuda/runtime.h"
#include "validate.h"

namespace dropkit::cuda {
namespace {

constexpr int64_t kMostBlocks = INT32_MAX;
constexpr int64_t kShortRow = 64;  // elements: a block for fewer costs more than a division for each of them

bool IsAligned(const void* address, size_t bytes) { return reinterpret_cast<uintptr_t>(address) % bytes == 0; }

template <typename T>
Status LaunchDense(const DenseJob& job, const Loop& loop, void* stream) {
  const int64_t vectors = std::min(job.chunk, job.rows.elements) / kLanes<T> + 1;
  const int threads = static_cast<int>(std::min<int64_t>(kBlockThreads, (vectors + 31) / 32 * 32));
  const int64_t blocks = job.rows.count * job.chunks;
  if (!BitsFollowElements(loop)) {
    return Launch(job.map.narrow ? ApplyDense<T, GlobalMapped<uint32_t>> : ApplyDense<T, GlobalMapped<int64_t>>, blocks,
                  threads, stream, job);
  }
  if (IsAligned(job.x, kVectorBytes)) return Launch(ApplyDense<T, GlobalDirect<false>>, blocks, threads, stream, job);
  return Launch(ApplyDense<T, GlobalDirect<true>>, blocks, threads, stream, job);
}

template <typename T>
Status LaunchElements(const ElementsJob& job, void* stream) {
  const int64_t blocks = std::min<int64_t>((job.elements + kBlockThreads - 1) / kBlockThreads, 16 * Multiprocessors());
  return Launch(ApplyElements<T>, blocks, kBlockThreads, stream, job);
}

// Whether the vector kernel can do it, and then its job but for the chunks.
bool FillDenseJob(const Loop& loop, DenseJob* job) {
  if (!IsDense(loop) || !IsAligned(job->law.mask.bits, kVectorBytes) || !MakeRows(loop, &job->rows)) return false;
  job->map = BitMapOf(loop);
  return job->rows.count == 1 || job->rows.elements >= kShortRow;
}

template <typename T>
Status Run(const GainLaw& law, bool noise, const View& x, const View& y, const Exec& exec) {
  const int64_t elements = ElementsOf(x);
  const Loop loop = MergedAxes(law.mask, x, y, noise);
  DenseJob dense{x.data, y.data, {}, 0, 0, {}, law};
  if (!noise && FillDenseJob(loop, &dense)) {
    dense.chunk = ChunkOf(elements, kLanes<T>, Multiprocessors(),
                          law.mask.spec.normalize == Normalize::kExpected && law.plan.has_blocks);
    dense.chunks = (dense.rows.elements + dense.chunk - 1) / dense.chunk;
    if (dense.chunks <= kMostBlocks / dense.rows.count) return LaunchDense<T>(dense, loop, exec.stream);
  }
  ElementsJob job{x.data, y.data, elements, loop, {}, elements <= Quotient::kMostNarrow, noise, law};
  for (int i = 0; i < loop.dims; ++i) job.size[i] = Quotient::By(loop.step[i].size);
  return LaunchElements<T>(job, exec.stream);
}

}  // namespace

Status ValidateAlignment(const View& x, const View& y) {
  const size_t size = SizeOf(x.dtype);
  const bool x_is = IsAligned(x.data, size);
  if (x_is && IsAligned(y.data, size)) return Status();
  return Status::Invalid(std::string(x_is ? "y" : "x") +
                         ".data is not aligned to its elements; allowed for backend cuda: an address that " +
                         std::to_string(size) + " divides");
}

Status Apply(const Mask& mask, Pass pass, const View& x, const View& y, const Exec& exec) {
  if (Status status = ValidateAlignment(x, y); !status.ok()) return status;
  Plan plan;
  if (Status status = MakePlan(mask.spec, x, &plan); !status.ok()) return status;
  const GainLaw law{mask, plan, NeedsCoverage(mask.spec) ? MakeCoverage(plan) : Coverage{}, FillOf(mask.spec, pass)};
  const bool noise = mask.spec.fill == Fill::kNoise && pass == Pass::kForward;
  switch (x.dtype) {
    case DType::kF32:
      return Run<float>(law, noise, x, y, exec);
    case DType::kF64:
      return Run<double>(law, noise, x, y, exec);
    case DType::kF16:
      return Run<Float16>(law, noise, x, y, exec);
    case DType::kBF16:
      return Run<BFloat16>(law, noise, x, y, exec);
  }
  return Status::Internal("x.dtype is none of the four");
}

}  // namespace dropkit::cuda
