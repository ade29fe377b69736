// The `cpu` backend's row: always there, with scratch for coverage classes alone.
#include "backend.h"

#include "cpu/cpu.h"

namespace dropkit {
namespace {

size_t ScratchOf(const Spec& spec, const View& x, const Exec&) {
  Plan plan;
  if (!NeedsCoverage(spec) || !MakePlan(spec, x, &plan).ok()) return 0;
  return static_cast<size_t>(MostClasses(plan)) * sizeof(CoverageClass);
}

}  // namespace

const Backend kCpuBackend = {"cpu",
                             true,
                             [] { return static_cast<const char*>(nullptr); },
                             ScratchOf,
                             cpu::Sample,
                             cpu::Spread,
                             cpu::Pack,
                             FinishEmptyOnHost,
                             cpu::Apply,
                             nullptr};

}  // namespace dropkit
