// What every page that the program writes needs of HTML: text made harmless.
// Assumes UTF-8 or ASCII; styles and structure are each page's own.

#ifndef DROPKIT_CLI_HTML_H_
#define DROPKIT_CLI_HTML_H_

#include <string>
#include <string_view>

namespace dropkit::cli {

// `text` for between tags and inside quoted attributes.
std::string EscapeHtml(std::string_view text);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_HTML_H_
