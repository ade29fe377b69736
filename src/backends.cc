// The ordered list of backends, and which one a call gets.
#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "backend.h"
#include "nearest.h"
#include "rate.h"

namespace dropkit {
namespace {

// First available wins when nobody names one.
constexpr const Backend* kBackends[] = {&kCpuBackend, &kReferenceBackend};
// Names that are known and have no code here.
constexpr const char* kNotBuilt[] = {"cuda"};

std::vector<std::string> BackendNames() {
  std::vector<std::string> names;
  for (const Backend* backend : kBackends) names.push_back(backend->name);
  return names;
}

Status Unknown(const std::string& where, const char* name) {
  for (const char* absent : kNotBuilt) {
    if (std::strcmp(name, absent) == 0)
      return Status::Unavailable(where + " '" + name + "' cannot run here; " + name +
                                 ": not built; known: " + Join(BackendNames()));
  }
  return Status::Invalid(where + " '" + name + "' is not a backend" + DidYouMean(name, BackendNames()) +
                         " known: " + Join(BackendNames()));
}

}  // namespace

void FinishEmptyOnHost(Probability p, const Mask& mask) {
  std::fill_n(mask.kept, mask.kept ? mask.num_kept : 0, int64_t{0});
  if (mask.threshold) *mask.threshold = HostThreshold(p);
}

Status FindBackend(const Exec& exec, const Backend** backend) {
  const char* environment = std::getenv("DROPKIT_BACKEND");
  const char* name = exec.backend ? exec.backend : (environment && *environment ? environment : nullptr);
  for (const Backend* candidate : kBackends) {
    if (name && std::strcmp(name, candidate->name) != 0) continue;
    const char* why = candidate->unavailable();
    if (!why) {
      *backend = candidate;
      return Status();
    }
    if (name) return Status::Unavailable(std::string("backend '") + name + "' cannot run here: " + why);
  }
  return Unknown(exec.backend ? "exec.backend" : "environment variable DROPKIT_BACKEND", name ? name : "");
}

std::vector<BackendInfo> Backends() {
  std::vector<BackendInfo> infos;
  for (const Backend* backend : kBackends) {
    const char* why = backend->unavailable();
    infos.push_back({backend->name, why == nullptr, why ? why : ""});
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
  for (const char* absent : kNotBuilt) text += std::string(", ") + absent + " (off: not built)";
  return text;
}

}  // namespace dropkit
