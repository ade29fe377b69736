// std::from_chars and std::to_chars: no locale, no leading blank or sign let through.

#include "cli/number.h"

#include <CLI/CLI.hpp>
#include <charconv>

namespace dropkit::cli {

uint64_t ReadNumber(const char* argument, std::string_view text, uint64_t largest, uint64_t smallest) {
  uint64_t value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, value);
  if (error == std::errc() && end == last && value >= smallest && value <= largest) return value;
  const std::string allowed = "a whole number from " + std::to_string(smallest) + " to " + std::to_string(largest);
  throw CLI::ValidationError(argument, "'" + std::string(text) + "' is not " + allowed);
}

std::string Print(float value) {
  char text[64];
  return std::string(text, std::to_chars(text, text + sizeof(text), value).ptr);
}

std::string Print(double value, int digits) {
  char text[64];
  return std::string(text, std::to_chars(text, text + sizeof(text), value, std::chars_format::general, digits).ptr);
}

}  // namespace dropkit::cli
