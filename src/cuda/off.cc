// The `cuda` row of the backends in a build without CUDA: known by name, and every call says why it cannot run.
// Compiled instead of the other sources of this folder.
#include "backend.h"

namespace dropkit {
namespace {

constexpr const char* kWhy = "built without CUDA";

const char* Unavailable() { return kWhy; }
size_t NoScratch(const Spec&, const View&, const Exec&) { return 0; }
// Never reached through FindBackend.
Status Refuse() { return Status::Unavailable(std::string("backend cuda: ") + kWhy); }

}  // namespace

const Backend kCudaBackend = {
    "cuda",
    false,
    Unavailable,
    NoScratch,
    [](const Spec&, Probability, Key, const View&, const Exec&, Mask*) { return Refuse(); },
    [](const Spec&, Probability, const uint8_t*, const View&, const Exec&, Mask*) { return Refuse(); },
    [](const Spec&, Probability, const uint8_t*, const View&, const Exec&, Mask*) { return Refuse(); },
    [](Probability, const Mask&, const Exec&) { return Refuse(); },
    [](const Mask&, Pass, const View&, const View&, const Exec&) { return Refuse(); },
    nullptr};

}  // namespace dropkit
