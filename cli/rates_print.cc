// Text for people, four or five digits a number; JSON and CSV for programs, one object or line a row.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/number.h"
#include "cli/rates.h"

namespace dropkit::cli {
namespace {

using Json = nlohmann::ordered_json;

Json RowAsJson(const RateRow& row) {
  // 0.1f as the number 0.1, not as the double nearest to the float.
  Json json = {{"p", std::strtod(Print(row.p).c_str(), nullptr)},
               {"map", row.map},
               {"block", row.block},
               {"name", row.name},
               {"spec", row.spec}};
  if (!row.refused.empty()) {
    json["refused"] = row.refused;
    return json;
  }
  json["gamma"] = row.gamma;
  json["expected"] = row.expected;
  json["drawn"] = row.drawn;
  json["error"] = row.error;
  return json;
}

// RFC 4180: in quotes where a comma or a quote needs them.
std::string Quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

std::string Fixed(double value, int digits, int width) {
  char text[64];
  std::snprintf(text, sizeof(text), "%*.*f", width, digits, value);
  return text;
}

std::string Padded(const std::string& text, size_t width) {
  return text + std::string(width > text.size() ? width - text.size() : 0, ' ');
}

// Footnotes: rows that are refused for one reason share a number.
size_t NoteFor(const std::string& reason, std::vector<std::string>* notes) {
  const auto found = std::find(notes->begin(), notes->end(), reason);
  const auto index = static_cast<size_t>(found - notes->begin());
  if (found == notes->end()) notes->push_back(reason);
  return index + 1;
}

void PrintTable(const RateTable& table, size_t name_width) {
  std::cout << Padded(table.asked, name_width) << "    gamma  expected   drawn    error\n";
  std::vector<std::string> notes;
  for (const RateRow& row : table.rows) {
    std::cout << Padded(row.name, name_width);
    if (row.refused.empty())
      std::cout << Fixed(row.gamma, 5, 9) << Fixed(row.expected, 4, 10) << Fixed(row.drawn, 4, 8)
                << Fixed(row.error, 4, 9) << "\n";
    else
      std::cout << "  refused, see (" << NoteFor(row.refused, &notes) << ")\n";
  }
  for (size_t i = 0; i < notes.size(); ++i) std::cout << "(" << i + 1 << ") " << notes[i] << "\n";
}

}  // namespace

void PrintRateTables(const std::vector<RateTable>& tables, int64_t draws) {
  size_t name_width = 0;
  for (const RateTable& table : tables) {
    name_width = std::max(name_width, table.asked.size());
    for (const RateRow& row : table.rows) name_width = std::max(name_width, row.name.size());
  }
  for (const RateTable& table : tables) {
    if (&table != tables.data()) std::cout << "\n";
    PrintTable(table, name_width);
  }
  std::cout << "\ngamma: probability of a unit to fire.  expected: exact expected dropped fraction.\n"
            << "drawn: mean dropped fraction of " << draws << " maps drawn.  error: standard error of that mean.\n";
}

void PrintRatesJson(const std::vector<RateTable>& tables) {
  Json list = Json::array();
  for (const RateTable& table : tables) {
    for (const RateRow& row : table.rows) list.push_back(RowAsJson(row));
  }
  std::cout << list.dump(2) << "\n";
}

void PrintRatesCsv(const std::vector<RateTable>& tables) {
  std::cout << "p,map,block,name,gamma,expected,drawn,error,refused,spec\n";
  for (const RateTable& table : tables) {
    for (const RateRow& row : table.rows) {
      std::cout << Print(row.p) << "," << row.map << "," << row.block << "," << Quoted(row.name);
      for (const double value : {row.gamma, row.expected, row.drawn, row.error})
        std::cout << "," << (row.refused.empty() ? Print(value) : "");
      std::cout << "," << Quoted(row.refused) << "," << Quoted(row.spec) << "\n";
    }
  }
}

}  // namespace dropkit::cli
