// The commit that the program was built from.
#ifndef DROPKIT_CLI_COMMIT_H_
#define DROPKIT_CLI_COMMIT_H_

#include <string>

namespace dropkit::cli {

// Of git, abbreviated, with "-dirty" where the checkout differed; "unknown" outside a git checkout.
std::string Commit();

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_COMMIT_H_
