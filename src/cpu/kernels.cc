// Which table of kernels runs here. Dispatch is a look at the processor, once, and a pointer: no library is needed for
// it at run time.
#include "cpu/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <atomic>
#include <cstdlib>
#include <string>

#include "nearest.h"

namespace dropkit::cpu {
namespace {

struct Candidate {
  Isa isa;
  const char* name;
  bool runs;
};

#if defined(__x86_64__)
// Clang's __builtin_cpu_supports does not know it.
bool HasF16C() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & (1u << 29)) != 0;
}
#endif

// Best first.
std::vector<Candidate> Candidates() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2") && HasF16C();
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vpopcntdq");
  return {{Isa::kAvx512Bf16, "avx512_bf16", bf16},
          {Isa::kAvx512, "avx512", avx512},
          {Isa::kAvx2, "avx2", avx2},
          {Isa::kPortable, "portable", true}};
#elif defined(__aarch64__)
  return {{Isa::kNeon, "neon", true}, {Isa::kPortable, "portable", true}};
#else
  return {{Isa::kPortable, "portable", true}};
#endif
}

Kernels TableOf(const Candidate& candidate) {
  Kernels kernels{};
  kernels.isa = candidate.name;
  AddWords(candidate.isa, &kernels);
  if (candidate.isa == Isa::kPortable) {
    AddPortable(&kernels);
  } else {
    AddLanes(candidate.isa, &kernels);
    AddRows(candidate.isa, &kernels);
  }
#if defined(__x86_64__)
  if (candidate.isa == Isa::kAvx512Bf16) AddAvx512Bf16(&kernels);
#endif
  return kernels;
}

struct Choice {
  const Kernels* kernels;
  std::string complaint;
};

Choice FromEnvironment() {
  const Kernels* best = &RunnableKernels().front();
  const char* asked = std::getenv("DROPKIT_ISA");
  if (asked == nullptr || *asked == '\0') return {best, ""};
  std::vector<std::string> names;
  for (const Kernels& kernels : RunnableKernels()) {
    if (asked == std::string(kernels.isa)) return {&kernels, ""};
    names.push_back(kernels.isa);
  }
  return {best, "DROPKIT_ISA = " + std::string(asked) + "; allowed on this machine: " + Join(names)};
}

const Choice& TheChoice() {
  static const Choice choice = FromEnvironment();
  return choice;
}

std::atomic<const Kernels*> forced{nullptr};

}  // namespace

const std::vector<Kernels>& RunnableKernels() {
  static const std::vector<Kernels> tables = [] {
    std::vector<Kernels> runnable;
    for (const Candidate& candidate : Candidates()) {
      if (candidate.runs) runnable.push_back(TableOf(candidate));
    }
    return runnable;
  }();
  return tables;
}

Status CheckKernels() { return TheChoice().complaint.empty() ? Status() : Status::Invalid(TheChoice().complaint); }

const Kernels& ChosenKernels() {
  const Kernels* kernels = forced.load(std::memory_order_relaxed);
  return kernels ? *kernels : *TheChoice().kernels;
}

void UseKernels(const Kernels* kernels) { forced.store(kernels, std::memory_order_relaxed); }

}  // namespace dropkit::cpu
