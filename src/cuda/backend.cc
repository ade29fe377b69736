// The `cuda` backend's row: on device memory, with workspace for counts that several blocks add up.
#include "backend.h"

#include "cuda/cuda.h"
#include "cuda/runtime.h"

namespace dropkit {
namespace {

size_t ScratchOf(const Spec& spec, const View& x, const Exec&) { return cuda::WorkspaceBytes(spec, x); }

}  // namespace

const Backend kCudaBackend = {"cuda",       false,      cuda::Unavailable, ScratchOf,   cuda::Sample,
                              cuda::Spread, cuda::Pack, cuda::FinishEmpty, cuda::Apply, cuda::Drop};

}  // namespace dropkit
