// What one draw serves, by a spec: samples and channels that `share`, or the method, gives one and the same unit.
// Assumes a valid spec. Counts of lanes and positions are the library's (Rates).

#ifndef DROPKIT_CLI_FIELD_H_
#define DROPKIT_CLI_FIELD_H_

#include "dropkit/dropkit.h"

namespace dropkit::cli {

inline bool SharesBatch(const Spec& spec) { return spec.share == Share::kBatch || spec.share == Share::kAll; }

// A unit of drop_path is a sample, with all its channels.
inline bool SharesChannels(const Spec& spec) {
  return spec.share == Share::kChannels || spec.share == Share::kAll || spec.method == Method::kDropPath;
}

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_FIELD_H_
