// Pictures for inside a page: PNG made in memory, as the text of a data: URI.
// Assumes that a picture's sizes and pixels agree and says so by an exception where they do not.
#ifndef DROPKIT_CLI_TRAIN_DATA_URI_H_
#define DROPKIT_CLI_TRAIN_DATA_URI_H_

#include <string>

#include "cli/train/report.h"

namespace dropkit::cli {

// Throws std::runtime_error: sizes that are not positive, or do not agree with the pixels, or libpng's refusal.
std::string PngDataUri(const Picture& picture);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_DATA_URI_H_
