// The ordered list of backends, and which one a call gets.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "backend.h"
#include "nearest.h"
#include "rate.h"

namespace dropkit {
namespace {

// Among those on host memory the first available wins when nobody names one.
constexpr const Backend* kBackends[] = {&kCpuBackend, &kReferenceBackend, &kCudaBackend};

std::vector<std::string> BackendNames(bool host_memory_alone) {
  std::vector<std::string> names;
  for (const Backend* backend : kBackends) {
    if (backend->host_memory || !host_memory_alone) names.push_back(backend->name);
  }
  return names;
}

const Backend* Named(const char* name) {
  for (const Backend* backend : kBackends) {
    if (std::strcmp(name, backend->name) == 0) return backend;
  }
  return nullptr;
}

// `of_exec`: the call named it, so that it may be one on a device's memory.
Status FindNamed(const char* name, bool of_exec, const Backend** backend) {
  const std::string argument =
      (of_exec ? "exec.backend '" : "environment variable DROPKIT_BACKEND '") + std::string(name) + "'";
  const std::string known = Join(BackendNames(!of_exec));
  *backend = Named(name);
  if (!*backend) {
    return Status::Invalid(argument + " is not a backend" + DidYouMean(name, BackendNames(!of_exec)) +
                           " known: " + known);
  }
  if (!(*backend)->host_memory && !of_exec) {
    return Status::Invalid(argument + " works on device memory, and who has it names it in Exec; allowed: " + known);
  }
  const char* why = (*backend)->unavailable();
  return why ? Status::Unavailable(argument + " cannot run here: " + why) : Status();
}

}  // namespace

Status FinishEmptyOnHost(Probability p, const Mask& mask, const Exec&) {
  std::fill_n(mask.kept, mask.kept ? mask.num_kept : 0, int64_t{0});
  if (mask.threshold) *mask.threshold = HostThreshold(p);
  return Status();
}

Status FindBackend(const Exec& exec, const Backend** backend) {
  if (exec.backend) return FindNamed(exec.backend, true, backend);
  const char* environment = std::getenv("DROPKIT_BACKEND");
  if (environment && *environment) return FindNamed(environment, false, backend);
  for (const Backend* candidate : kBackends) {
    *backend = candidate;
    if (candidate->host_memory && !candidate->unavailable()) return Status();
  }
  return Status::Internal("no backend on host memory can run here");
}

Status ValidateScratch(const Backend& backend, size_t needed, const Exec& exec) {
  if (!exec.scratch && needed > 0) {
    return Status::Invalid(std::string("exec.scratch = null; allowed for backend ") + backend.name + ": " +
                           std::to_string(needed) + " bytes of " + (backend.host_memory ? "" : "device ") +
                           "memory (ScratchBytes)");
  }
  if (exec.scratch && exec.scratch_bytes < needed) {
    return Status::Invalid("exec.scratch_bytes = " + std::to_string(exec.scratch_bytes) + "; allowed: at least " +
                           std::to_string(needed) + " (ScratchBytes)");
  }
  if (reinterpret_cast<uintptr_t>(exec.scratch) % 64 != 0) {
    return Status::Invalid("exec.scratch is not aligned; allowed: an address that 64 divides");
  }
  return Status();
}

std::vector<BackendInfo> Backends() {
  std::vector<BackendInfo> infos;
  for (const Backend* backend : kBackends) {
    const char* why = backend->unavailable();
    infos.push_back({backend->name, why == nullptr, why ? why : "", backend->host_memory});
  }
  return infos;
}

const char* Version() { return DROPKIT_VERSION; }

std::string BuildInfo() {
  std::string text = std::string("dropkit ") + Version() + ", draw " + std::to_string(kDrawVersion) + ", ";
#if defined(__clang__)
  text += "clang " __clang_version__;
#elif defined(__GNUC__)
  text += "g++ " __VERSION__;
#else
  text += "unknown compiler";
#endif
  text += ", backends:";
  for (const BackendInfo& info : Backends())
    text += " " + info.name + (info.available ? "" : " (off: " + info.why + ")");
  return text;
}

}  // namespace dropkit
