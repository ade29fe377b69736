// The `reference` row of the backends: always available, one thread, no scratch (it allocates instead).
#include "backend.h"

#include "reference/reference.h"

namespace dropkit {
namespace {

const char* Unavailable() { return nullptr; }
size_t NoScratch(const Spec&, const View&, const Exec&) { return 0; }

}  // namespace

const Backend kReferenceBackend = {"reference",       true,
                                   Unavailable,       NoScratch,
                                   reference::Sample, reference::Spread,
                                   reference::Pack,   FinishEmptyOnHost,
                                   reference::Apply,  nullptr};

}  // namespace dropkit
