// The `cpu` backend's row: always there, without scratch.
#include "backend.h"

#include "cpu/cpu.h"

namespace dropkit {
namespace {

size_t NoScratch(const Spec&, const View&, const Exec&) { return 0; }

}  // namespace

const Backend kCpuBackend = {"cpu",
                             true,
                             [] { return static_cast<const char*>(nullptr); },
                             NoScratch,
                             cpu::Sample,
                             cpu::Spread,
                             cpu::Pack,
                             FinishEmptyOnHost,
                             cpu::Apply,
                             nullptr};

}  // namespace dropkit
