// `dropkit methods`: the library's method table and presets, for people (at most 100 columns, but for full spec lines,
// which stay whole so that they can be copied) or as JSON.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "cli/number.h"
#include "dropkit/dropkit.h"

namespace dropkit::cli {
namespace {

constexpr size_t kColumns = 100;

// Breaks at blanks into lines of at most `width`; a longer word stays whole.
std::vector<std::string> Wrap(const std::string& text, size_t width) {
  std::vector<std::string> lines;
  for (size_t start = 0; start < text.size();) {
    size_t end = text.size();
    if (end - start > width) {
      end = text.rfind(' ', start + width);
      if (end == std::string::npos || end <= start) end = std::min(text.find(' ', start + width), text.size());
    }
    lines.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return lines;
}

// NAME then text, wrapped under itself.
void PrintItem(const std::string& name, const std::string& text) {
  constexpr size_t kIndent = 10;
  std::string head = "  " + name;
  for (const std::string& line : Wrap(text, kColumns - kIndent)) {
    std::cout << head << std::string(kIndent - head.size(), ' ') << line << "\n";
    head.clear();
  }
}

void PrintTable(const std::vector<MethodInfo>& methods) {
  std::vector<std::vector<std::string>> rows = {{"METHOD", "UNIT", "SPREAD", "P"}};
  for (const MethodInfo& m : methods) rows.push_back({m.name, m.unit, m.spread, Print(m.default_p)});
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += row[i] + std::string(widths[i] - row[i].size() + 2, ' ');
    std::cout << line.substr(0, line.find_last_not_of(' ') + 1) << "\n";
  }
}

void PrintText() {
  const std::vector<MethodInfo> methods = Methods();
  PrintTable(methods);
  for (const MethodInfo& method : methods) {
    std::cout << "\n" << method.name << "\n";
    PrintItem("paper", method.paper);
    PrintItem("keys", method.keys);
    PrintItem("full", method.full_line);
  }
  std::cout << "\nPRESETS\n";
  for (const PresetInfo& preset : Presets()) {
    std::cout << "\n" << preset.name << "\n";
    PrintItem("source", preset.source);
    PrintItem("p", Print(preset.default_p));
    PrintItem("full", preset.full_line);
  }
}

void PrintJson() {
  using Json = nlohmann::ordered_json;
  // 0.1f as the number 0.1, not as the double nearest to the float.
  const auto decimal = [](float p) { return std::strtod(Print(p).c_str(), nullptr); };
  Json methods = Json::array(), presets = Json::array();
  for (const MethodInfo& m : Methods()) {
    methods.push_back({{"name", m.name},
                       {"unit", m.unit},
                       {"spread", m.spread},
                       {"default_p", decimal(m.default_p)},
                       {"keys", m.keys},
                       {"paper", m.paper},
                       {"full_line", m.full_line}});
  }
  for (const PresetInfo& p : Presets()) {
    presets.push_back(
        {{"name", p.name}, {"default_p", decimal(p.default_p)}, {"source", p.source}, {"full_line", p.full_line}});
  }
  std::cout << Json{{"draw", kDrawVersion}, {"methods", methods}, {"presets", presets}}.dump(2) << "\n";
}

}  // namespace

void AddMethods(CLI::App& app, Job& job) {
  CLI::App* methods = app.add_subcommand("methods", "list the methods and the presets in full");
  auto json = std::make_shared<bool>(false);
  methods->add_flag("--json", *json, "print JSON instead of text");
  methods->callback([json, &job] {
    job = [json] {
      *json ? PrintJson() : PrintText();
      return 0;
    };
  });
}

}  // namespace dropkit::cli
