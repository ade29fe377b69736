// The frame of an HTML page that needs nothing but itself: head with all styles, and figures.
#ifndef DROPKIT_CLI_TRAIN_PAGE_H_
#define DROPKIT_CLI_TRAIN_PAGE_H_

#include <string>
#include <string_view>

#include "cli/html.h"

namespace dropkit::cli {

// The same of a method's name, which may break at its punctuation.
std::string Breakable(std::string_view name);

// The same of a command line, which breaks at its spaces: a browser would also break it after a hyphen.
std::string Words(std::string_view line);

// Everything from the doctype to the start of the body's content, and everything after it. The page's own policy
// forbids the browser to load anything.
std::string PageStart(const std::string& title);
std::string PageEnd();

// <tag>escaped text</tag>, and with a class.
std::string Element(const std::string& tag, std::string_view text, const std::string& css_class = "");

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_TRAIN_PAGE_H_
