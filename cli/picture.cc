// Every rank is drawn by one rule: each way of the picture is a nest of axes of the mask, from the innermost (cells,
// which touch) outwards (maps, which a border parts). Compression and the format are libpng's.

#include "cli/picture.h"

#include <png.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "cli/file.h"

namespace dropkit::cli {
namespace {

constexpr uint8_t kKeptShade = 255, kDroppedShade = 40, kBorderShade = 150;
constexpr int64_t kThin = 2, kThick = 6;  // pixels between maps; between channels that are rows of slices
constexpr int64_t kMapPixels = 112;       // a map is scaled up to about this, or to its share of kFullPixels if more
constexpr int64_t kFullPixels = 1024;
constexpr int64_t kLargestScale = 16;

struct Axis {
  const char* name;
  int64_t size;
  int64_t stride;  // in `keep`
  int64_t gap;     // border pixels before each entry and after the last; 0 for cells
  int64_t shown = 0;
};
// The axes of one way, across or down, outermost first; the last holds the cells.
using Way = std::vector<Axis>;

struct Layout {
  Way down, across;
};

Layout LayOut(const std::vector<int64_t>& s) {
  switch (s.size()) {
    case 2:
      return {{{"map", 1, 0, kThin}, {"samples", s[0], s[1], 0}}, {{"map", 1, 0, kThin}, {"channels", s[1], 1, 0}}};
    case 3:
      return {{{"samples", s[0], s[1] * s[2], kThin}, {"channels", s[1], s[2], 0}},
              {{"map", 1, 0, kThin}, {"columns", s[2], 1, 0}}};
    case 4:
      return {{{"samples", s[0], s[1] * s[2] * s[3], kThin}, {"rows", s[2], s[3], 0}},
              {{"channels", s[1], s[2] * s[3], kThin}, {"columns", s[3], 1, 0}}};
    default: {
      const int64_t slice = s[3] * s[4], channel = s[2] * slice;
      return {{{"samples", s[0], s[1] * channel, kThick}, {"rows", s[3], s[4], 0}},
              {{"channels", s[1], channel, kThick}, {"slices", s[2], slice, kThin}, {"columns", s[4], 1, 0}}};
    }
  }
}

// Fits as many entries of every axis, innermost first, as the largest picture holds; returns the pixels.
int64_t Fit(Way& way, int64_t scale) {
  int64_t frame = 0;  // borders that the outer axes need even with one entry each
  for (const Axis& axis : way) frame += 2 * axis.gap;
  int64_t pixels = scale;
  for (size_t i = way.size(); i-- > 0;) {
    Axis& axis = way[i];
    frame -= 2 * axis.gap;
    axis.shown = std::clamp((kLargestPicture - frame - axis.gap) / (pixels + axis.gap), int64_t{1}, axis.size);
    pixels = axis.shown * (pixels + axis.gap) + axis.gap;
  }
  return pixels;
}

int64_t ChooseScale(const Layout& layout) {
  int64_t maps = 1;
  for (size_t i = 0; i + 1 < layout.across.size(); ++i) maps *= std::min(layout.across[i].size, kFullPixels);
  const int64_t longer = std::max(layout.down.back().size, layout.across.back().size);
  return std::clamp(std::max(kMapPixels, kFullPixels / maps) / longer, int64_t{1}, kLargestScale);
}

// For every pixel along a way the offset in `keep` that it adds, or -1 on a border.
std::vector<int64_t> Offsets(const Way& way, int64_t scale) {
  std::vector<int64_t> line(static_cast<size_t>(scale), 0);
  for (size_t i = way.size(); i-- > 0;) {
    const Axis& axis = way[i];
    const std::vector<int64_t> inner = std::move(line);
    line.assign(static_cast<size_t>(axis.gap), -1);
    for (int64_t entry = 0; entry < axis.shown; ++entry) {
      for (int64_t offset : inner) line.push_back(offset < 0 ? -1 : offset + entry * axis.stride);
      line.insert(line.end(), static_cast<size_t>(axis.gap), -1);
    }
  }
  return line;
}

std::vector<uint8_t> Paint(const std::vector<uint8_t>& keep, const std::vector<int64_t>& down,
                           const std::vector<int64_t>& across) {
  std::vector<uint8_t> pixels;
  pixels.reserve(down.size() * across.size());
  for (int64_t y : down) {
    for (int64_t x : across) {
      const bool border = x < 0 || y < 0;
      pixels.push_back(border ? kBorderShade : keep[static_cast<size_t>(x + y)] ? kKeptShade : kDroppedShade);
    }
  }
  return pixels;
}

void Compress(const std::vector<uint8_t>& pixels, size_t width, size_t height, std::FILE* file) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_GRAY;
  if (png_image_write_to_stdio(&image, file, 0, pixels.data(), 0, nullptr) == 0)
    throw std::runtime_error(std::string("libpng: ") + image.message);
}

std::string Describe(const Layout& layout) {
  std::string words;
  for (const Way* way : {&layout.down, &layout.across}) {
    for (const Axis& axis : *way) {
      if (axis.stride == 0) continue;
      words += std::string(", ") + axis.name + " " + std::to_string(axis.shown) + " of " + std::to_string(axis.size);
    }
  }
  return words;
}

}  // namespace

std::string WritePng(const std::string& path, const std::vector<uint8_t>& keep, const std::vector<int64_t>& shape) {
  Layout layout = LayOut(shape);
  const int64_t scale = ChooseScale(layout);
  const int64_t height = Fit(layout.down, scale), width = Fit(layout.across, scale);
  const std::vector<uint8_t> pixels = Paint(keep, Offsets(layout.down, scale), Offsets(layout.across, scale));
  ReplaceFile(
      path, [&](std::FILE* file) { Compress(pixels, static_cast<size_t>(width), static_cast<size_t>(height), file); });
  return std::to_string(width) + " x " + std::to_string(height) + " pixels" + Describe(layout);
}

}  // namespace dropkit::cli
