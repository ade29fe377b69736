// A picture of a mask: kept white, dropped dark, a thin grey border around every map.
//   N,C,H,W    a map a channel: samples down, channels across
//   N,C,D,H,W  the same, each channel as its slices side by side
//   N,C,W      a map a sample, of channels (down) by W
//   N,C        one map, of samples (down) by channels
// Small maps are scaled up; of what does not fit, the first samples, channels, rows and columns are shown.

#ifndef DROPKIT_CLI_PICTURE_H_
#define DROPKIT_CLI_PICTURE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dropkit::cli {

// No picture is wider or higher than this.
inline constexpr int64_t kLargestPicture = 2048;

// `keep` has a byte an element in row-major order of `shape`, which has 2 to 5 sizes, all above 0. Returns what is
// shown in words: "1153 x 289 pixels, samples 8 of 32, channels 64 of 64, ...". Throws std::runtime_error if it cannot
// write.
std::string WritePng(const std::string& path, const std::vector<uint8_t>& keep, const std::vector<int64_t>& shape);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_PICTURE_H_
