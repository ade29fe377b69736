// A row of `dropkit rates`, and the ways to print rows. How a row comes about is in rates.cc.

#ifndef DROPKIT_CLI_RATES_H_
#define DROPKIT_CLI_RATES_H_

#include <cstdint>
#include <string>
#include <vector>

namespace dropkit::cli {

// One case or preset on one map with one block.
struct RateRow {
  float p = 0;
  std::string map, block;       // 7x7; 3, or 3x5, or nothing for a method without blocks
  std::string name, spec;       // as in a table; the full line
  std::string refused;          // why the library refuses it; the numbers mean nothing then
  double gamma = 0;             // probability of a unit to fire
  double expected = 0;          // exact expected dropped fraction
  double drawn = 0, error = 0;  // mean dropped fraction of the maps drawn, and its standard error
};

// One p, map and block; `asked` tells them.
struct RateTable {
  std::string asked;
  std::vector<RateRow> rows;
};

// `draws`: maps drawn for a row, told under the tables.
void PrintRateTables(const std::vector<RateTable>& tables, int64_t draws);
void PrintRatesJson(const std::vector<RateTable>& tables);
void PrintRatesCsv(const std::vector<RateTable>& tables);

}  // namespace dropkit::cli

#endif  // DROPKIT_CLI_RATES_H_
