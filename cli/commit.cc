// The one file that includes what cmake/commit.cmake writes in every build, so that a new commit compiles only this.
#include "cli/commit.h"

#include "built_commit.h"

namespace dropkit::cli {

std::string Commit() { return DROPKIT_COMMIT; }

}  // namespace dropkit::cli
