// What the methods do to sample images, as HTML: each image as the networks get it, and a row a method with what it
// predicts, where its evidence lies, and what it drops of its maps.
#ifndef DROPKIT_CLI_TRAIN_SAMPLE_PICTURES_H_
#define DROPKIT_CLI_TRAIN_SAMPLE_PICTURES_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/train/report.h"

namespace dropkit::cli {

// `names` are the methods of `samples`, as the page calls them; erased squares have the colour `erased`. Throws
// std::runtime_error where the sizes of a sample do not agree with its values.
std::string SamplePictures(const std::vector<RunSamples>& samples, const std::vector<std::string>& names,
                           const std::array<uint8_t, 3>& erased);

// The map in grey, larger values lighter, dropped cells paler under diagonal lines; a cell is `scale` pixels wide.
Picture DrawMap(const MaskedMap& map, int scale);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_SAMPLE_PICTURES_H_
