// Words and columns of the summary.
#include "cli/check/tally.h"

#include "src/methods.h"

namespace dropkit::check {
namespace {

std::string Row(std::string name, const std::string& text) {
  name.resize(16, ' ');
  return name + text + "\n";
}

std::string CountsRow(const char* name, const std::map<std::string, int64_t>& counts) {
  std::string text;
  for (const auto& [word, count] : counts) text += (text.empty() ? "" : ", ") + word + " " + std::to_string(count);
  return Row(name, text);
}

// A case that is run by itself is not drawn again.
std::string MistrustedText(int64_t drawn_again, int64_t stayed) {
  const std::string text = std::to_string(drawn_again + stayed) + " all kept or all dropped";
  if (drawn_again + stayed == 0) return text;
  if (drawn_again == 0) return text + ": right, but it shows little and does not count";
  return text + ": " + std::to_string(drawn_again) + " drawn again, " + std::to_string(stayed) +
         " stayed so and do not count";
}

}  // namespace

void Tally::Add(const Case& c, const Outcome& outcome) {
  elements += outcome.elements;
  if (outcome.trust == Trust::kMistrusted) {
    ++stayed;
    return;
  }
  ++cases;
  if (outcome.trust == Trust::kRefused) {
    ++refused;
    return;
  }
  ++(outcome.trust == Trust::kExact ? exact : trusted);
  ++methods[RowOf(c.spec.method).name];
  ++dtypes[dropkit::Name(c.dtype)];
  ++passes[c.pass == Pass::kForward ? "forward" : "backward"];
  ++verbs[Name(c.verb)];
}

void Tally::AddDrawnAgain(const Outcome& outcome) {
  elements += outcome.elements;
  ++drawn_again;
}

std::string Tally::Text() const {
  return Row("cases", std::to_string(cases) + ": " + std::to_string(trusted) + " random, " + std::to_string(exact) +
                          " exact (p 0, 1 or bad, or nothing in the tensor), " + std::to_string(refused) +
                          " to be refused") +
         Row("MISTRUSTED", MistrustedText(drawn_again, stayed)) + Row("elements", std::to_string(elements)) +
         CountsRow("methods", methods) + CountsRow("dtypes", dtypes) + CountsRow("passes", passes) +
         CountsRow("verbs", verbs);
}

nlohmann::ordered_json Tally::Json() const {
  return {{"cases", cases},
          {"random", trusted},
          {"exact", exact},
          {"refused", refused},
          {"mistrusted", drawn_again + stayed},
          {"drawn_again", drawn_again},
          {"stayed", stayed},
          {"elements", elements},
          {"methods", methods},
          {"dtypes", dtypes},
          {"passes", passes},
          {"verbs", verbs}};
}

}  // namespace dropkit::check
