// The page of `dropkit explain`: what every way of showing it shows. A step has a title, sentences, formulas and grids
// of cells; it knows nothing of terminals, pictures or HTML.

#ifndef DROPKIT_CLI_EXPLAIN_STEPS_H_
#define DROPKIT_CLI_EXPLAIN_STEPS_H_

#include <string>
#include <vector>

#include "cli/explain_numbers.h"

namespace dropkit::cli {

struct GridCell {
  std::string text;
  bool fired = false, dropped = false;
  bool outside = false;  // no unit can be here
};

struct Grid {
  std::string title;
  int64_t columns = 1;
  std::vector<GridCell> cells;  // row-major
};

struct Step {
  std::string title;
  std::vector<std::string> sentences;
  std::vector<std::string> formulas;
  std::vector<Grid> grids;
};

// What is explained: full spec, shape, seed. `code` can be given to the program; `prose` follows it.
struct Setting {
  std::string name, code, prose;

  std::string Text() const { return code + prose; }
};

struct Page {
  std::string title;  // the case
  std::vector<Setting> setting;
  std::vector<Step> steps;
};

// `seed_note` tells how the seed came about; may be empty.
Page MakePage(const Numbers& numbers, const std::string& seed_note);

// What the marks of the cells mean, for readers without colour.
inline constexpr const char* kLegend = "[n] dropped,  * fires,  . could fire and does not,  blank: cannot fire";
inline constexpr const char* kPictureLegend =
    "marks: hatched = dropped, * on dark or framed = fires, . = could fire and does not, no frame = cannot fire";

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_EXPLAIN_STEPS_H_
