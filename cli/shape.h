// A tensor's sizes on the command line: N,C and 0 to 3 spatial sizes.
// Whether they suit a method, and whether there is memory for them, is the library's and the subcommand's concern.

#ifndef DROPKIT_CLI_SHAPE_H_
#define DROPKIT_CLI_SHAPE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::cli {

// "N,C", "N,C,W", "N,C,H,W" or "N,C,D,H,W"; the product of the sizes but zeros fits in 64 bits. Throws
// CLI::ValidationError, naming --shape, the text and what is allowed.
std::vector<int64_t> ReadShape(std::string_view text);
// A dense tensor of these sizes, which are at least N and C.
View ViewOf(const std::vector<int64_t>& shape, DType dtype = DType::kF32, Layout layout = Layout::kChannelsFirst,
            void* data = nullptr);
// 1,2,3 as it was read.
std::string ShapeText(const std::vector<int64_t>& shape);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_SHAPE_H_
