// Numbers as text, for spec lines and messages: std::to_string would print a small one as 0.000000.
#ifndef DROPKIT_SRC_NUMBER_H_
#define DROPKIT_SRC_NUMBER_H_

#include <charconv>
#include <string>
#include <system_error>

namespace dropkit {

// The shortest decimal that reads back as the same number.
template <typename Number>
std::string PrintNumber(Number value) {
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return error == std::errc() ? std::string(buffer, end) : std::string();
}

}  // namespace dropkit

#endif  // DROPKIT_SRC_NUMBER_H_
