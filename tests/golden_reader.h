// Reads tests/golden/draws.txt and masks.txt for tests; the forms of the lines are in tests/golden/README.md.
//
// A file that is missing, or a line without an expected key, throws std::runtime_error: GoogleTest reports it as a
// failure. What the lines are compared with is each test's own matter.
#ifndef DROPKIT_TESTS_GOLDEN_READER_H_
#define DROPKIT_TESTS_GOLDEN_READER_H_

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "dropkit/dropkit.h"

namespace dropkit::golden {

inline std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

// One line: its first word, and its KEY=VALUE words.
class Line {
 public:
  Line(const std::string& file, int number, const std::string& text) : where_(file + ":" + std::to_string(number)) {
    const std::vector<std::string> words = Split(text, ' ');
    kind_ = words.at(0);
    for (size_t i = 1; i < words.size(); ++i) {
      // The last '=' would be one of a spec line: the key ends at the first.
      const size_t equals = words[i].find('=');
      if (equals == std::string::npos) throw std::runtime_error(where_ + ": '" + words[i] + "' is not KEY=VALUE");
      values_[words[i].substr(0, equals)] = words[i].substr(equals + 1);
    }
  }
  const std::string& kind() const { return kind_; }
  const std::string& where() const { return where_; }  // FILE:LINE, for SCOPED_TRACE
  bool Has(const std::string& key) const { return values_.count(key) > 0; }
  const std::string& Text(const std::string& key) const {
    if (!Has(key)) throw std::runtime_error(where_ + ": no key '" + key + "'");
    return values_.at(key);
  }
  uint64_t Number(const std::string& key) const { return std::stoull(Text(key)); }
  std::vector<uint64_t> Numbers(const std::string& key) const {
    std::vector<uint64_t> numbers;
    for (const std::string& part : Split(Text(key), ',')) numbers.push_back(std::stoull(part));
    return numbers;
  }
  // Values given as the 16 hexadecimal digits of an f64's bits.
  std::vector<double> Doubles(const std::string& key) const {
    std::vector<double> doubles;
    for (const std::string& part : Split(Text(key), ',')) {
      doubles.push_back(std::bit_cast<double>(static_cast<uint64_t>(std::stoull(part, nullptr, 16))));
    }
    return doubles;
  }
  double Double(const std::string& key) const { return Doubles(key).at(0); }
  // A value given as a C hexadecimal float.
  float HexFloat(const std::string& key) const { return std::strtof(Text(key).c_str(), nullptr); }

 private:
  std::string kind_, where_;
  std::map<std::string, std::string> values_;
};

// All lines of a file of tests/golden/.
inline std::vector<Line> ReadLines(const std::string& file) {
  std::ifstream stream(std::string(DROPKIT_SOURCE_DIR) + "/tests/golden/" + file);
  if (!stream) throw std::runtime_error("tests/golden/" + file + " is missing; tests/golden/make.py writes it");
  std::vector<Line> lines;
  for (std::string text; std::getline(stream, text);) {
    lines.emplace_back(file, static_cast<int>(lines.size()) + 1, text);
  }
  return lines;
}

// The lines of draws.txt of one kind: philox, call_key, threshold, table, normal, noise or rates. Never empty.
inline std::vector<Line> DrawLines(const std::string& kind) {
  std::vector<Line> lines;
  for (const Line& line : ReadLines("draws.txt")) {
    if (line.kind() == kind) lines.push_back(line);
  }
  if (lines.empty()) throw std::runtime_error("draws.txt: no line of kind '" + kind + "'");
  return lines;
}

// The shape of a line's `shape=N,C[,spatial]` as a dense view without data.
inline View ShapeOf(const Line& line, Layout layout = Layout::kChannelsFirst, DType dtype = DType::kF32) {
  const std::vector<uint64_t> shape = line.Numbers("shape");
  const std::vector<int64_t> sizes(shape.begin() + 2, shape.end());
  return DenseView(nullptr, dtype, static_cast<int64_t>(shape.at(0)), static_cast<int64_t>(shape.at(1)), sizes, layout);
}

// CRC-32 of zlib and PNG.
inline uint32_t Crc32(const std::vector<uint8_t>& bytes) {
  uint32_t crc = 0xFFFFFFFFu;
  for (uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
  }
  return ~crc;
}

// One byte an element, dense as [samples][channels][spatial], 1 = kept, whatever the mask's own order and coarseness.
inline std::vector<uint8_t> DenseKeep(const Mask& mask) {
  std::vector<uint8_t> keep;
  for (int64_t n = 0; n < mask.samples; ++n) {
    for (int64_t c = 0; c < mask.channels; ++c) {
      for (int64_t i = 0; i < mask.size[0]; ++i) {
        for (int64_t j = 0; j < mask.size[1]; ++j) {
          for (int64_t k = 0; k < mask.size[2]; ++k) {
            const int64_t bit = n * mask.sample_stride + c * mask.channel_stride + i * mask.stride[0] +
                                j * mask.stride[1] + k * mask.stride[2];
            keep.push_back((mask.bits[bit / 64] >> (bit % 64)) & 1);
          }
        }
      }
    }
  }
  return keep;
}

// A line of masks.txt.
struct MaskCase {
  Line line;
  std::string text;                    // the case line, for ParseCase
  View shape;                          // dense, channels first, first_sample set, no data
  uint64_t key[2];                     // seed, offset
  uint64_t threshold, lane_threshold;  // T, Q
  std::vector<int64_t> kept;           // as Mask::kept: per sample, or per (sample, channel) if over=plane
  std::vector<double> gains;           // of kept elements, forward, in f64: one, or as many as `kept`

  // The shape in another layout or dtype, or a part of the batch.
  View Shape(Layout layout, DType dtype = DType::kF32) const { return Part(0, shape.samples, layout, dtype); }
  View Part(int64_t first, int64_t samples, Layout layout = Layout::kChannelsFirst, DType dtype = DType::kF32) const {
    const std::vector<int64_t> sizes(shape.size, shape.size + shape.spatial_dims);
    return DenseView(nullptr, dtype, samples, shape.channels, sizes, layout, shape.first_sample + first);
  }

  // Empty when `keep`, as DenseKeep gives it, is the golden mask; else what differs first.
  std::string Difference(const std::vector<uint8_t>& keep) const {
    std::vector<uint8_t> bytes((keep.size() + 7) / 8);
    for (size_t i = 0; i < keep.size(); ++i) bytes[i / 8] |= static_cast<uint8_t>((keep[i] != 0) << (i % 8));
    if (line.Has("crc32")) {
      const uint32_t golden = static_cast<uint32_t>(std::stoul(line.Text("crc32"), nullptr, 16));
      return Crc32(bytes) == golden ? "" : "the CRC of the mask is not " + line.Text("crc32");
    }
    const std::string& hex = line.Text("bits");
    if (hex.size() != 2 * bytes.size()) return "the mask has " + std::to_string(keep.size()) + " elements";
    for (size_t i = 0; i < keep.size(); ++i) {
      const int golden = (std::stoi(hex.substr(i / 8 * 2, 2), nullptr, 16) >> (i % 8)) & 1;
      if ((keep[i] != 0) != (golden != 0)) return "element " + std::to_string(i) + " is not " + std::to_string(golden);
    }
    return "";
  }
};

inline MaskCase ReadMaskCase(const Line& line) {
  MaskCase c{line,
             line.Text("case"),
             ShapeOf(line),
             {line.Number("seed"), line.Number("offset")},
             line.Number("T"),
             line.Number("Q"),
             {},
             line.Doubles("gain")};
  c.shape.first_sample = static_cast<int64_t>(line.Number("first"));
  for (uint64_t count : line.Numbers("kept")) c.kept.push_back(static_cast<int64_t>(count));
  return c;
}

// Every line of masks.txt. Never empty.
inline std::vector<MaskCase> ReadMasks() {
  std::vector<MaskCase> cases;
  for (const Line& line : ReadLines("masks.txt")) cases.push_back(ReadMaskCase(line));
  if (cases.empty()) throw std::runtime_error("masks.txt is empty");
  return cases;
}

}  // namespace dropkit::golden

#endif  // DROPKIT_TESTS_GOLDEN_READER_H_
