// Maps are pictures of pixels; squares and boxes are drawn over them as vectors, solid against dashed and light around
// dark, so that they show on any background and in grey.
#include "cli/train/sample_pictures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <stdexcept>

#include "cli/train/data_uri.h"
#include "cli/train/page.h"

namespace dropkit::cli {
namespace {

constexpr int kMapPixels = 112, kInputPixels = 168;  // of the screen; the page's styles leave room for as many
constexpr uint8_t kDarkest = 30, kLightest = 215, kWhite = 255, kHatch = 60;
constexpr int kHatchStep = 6;

// Values as shades between the two of the finite ones; one shade where all are one.
std::vector<uint8_t> Shades(const std::vector<float>& values, float low, float high, uint8_t dark, uint8_t light) {
  std::vector<uint8_t> shades;
  shades.reserve(values.size());
  for (const float value : values) {
    float share = high > low ? (value - low) / (high - low) : 0.5f;
    if (std::isnan(share)) share = 0;
    shades.push_back(static_cast<uint8_t>(
        std::lround(static_cast<float>(dark) + std::clamp(share, 0.f, 1.f) * static_cast<float>(light - dark))));
  }
  return shades;
}

std::vector<uint8_t> MapShades(const std::vector<float>& values) {
  float low = INFINITY, high = -INFINITY;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  return Shades(values, low, high, kDarkest, kLightest);
}

// A dropped value still shows: a map that is dropped whole would else be blank.
uint8_t Paler(uint8_t shade) { return static_cast<uint8_t>(kWhite - (kWhite - shade) * 2 / 5); }

void CheckMap(const MaskedMap& map) {
  const size_t cells = size_t{1} * std::max(map.height, 0) * std::max(map.width, 0);
  if (cells > 0 && map.values.size() == cells && (map.keep.empty() || map.keep.size() == cells)) return;
  throw std::runtime_error("map '" + map.title + "': " + std::to_string(map.height) + "x" + std::to_string(map.width) +
                           " cells, " + std::to_string(map.values.size()) + " values, " +
                           std::to_string(map.keep.size()) + " bits of a mask");
}

// Shown a whole number of times as large, so that every pixel is as wide as its neighbour, up to `longest` screen
// pixels.
std::string Image(const Picture& picture, int longest, const std::string& description, const std::string& overlay) {
  const std::string source = PngDataUri(picture);  // which checks the sizes
  const int scale = std::max(1, longest / std::max(picture.height, picture.width));
  return "<div class=\"frame\"><img alt=\"" + EscapeHtml(description) + "\" width=\"" +
         std::to_string(scale * picture.width) + "\" height=\"" + std::to_string(scale * picture.height) + "\" src=\"" +
         source + "\">" + overlay + "</div>";
}

std::string Figure(const std::string& image, const std::string& caption, bool wide) {
  return std::string("<figure") + (wide ? " class=\"wide\"" : "") + ">" + image + Element("figcaption", caption) +
         "</figure>\n";
}

std::string Overlay(const Picture& picture, const std::string& shapes) {
  if (shapes.empty()) return "";
  return "<svg viewBox=\"0 0 " + std::to_string(picture.width) + " " + std::to_string(picture.height) + "\">" + shapes +
         "</svg>";
}

std::string Rectangle(const Box& box, const std::string& style) {
  char text[160];
  std::snprintf(text, sizeof text, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" ", box.left, box.top,
                box.right - box.left, box.bottom - box.top);
  return text + style + "/>";
}

// The width of lines is in pixels of the screen, whatever the picture's scale.
std::string Outline(const Box& box, const std::string& colour, const std::string& dashes) {
  const std::string line = "fill=\"none\" vector-effect=\"non-scaling-stroke\" ";
  return Rectangle(box, line + "stroke=\"#000\" stroke-width=\"4\"") +
         Rectangle(box, line + "stroke=\"" + colour + "\" stroke-width=\"2\"" +
                            (dashes.empty() ? "" : " stroke-dasharray=\"" + dashes + "\""));
}

std::string ItemBox(const SampleImage& sample) { return sample.item ? Outline(*sample.item, "#fff", "") : ""; }

std::string InputFigures(const SampleImage& sample, const std::array<uint8_t, 3>& erased) {
  std::string html = Figure(Image(sample.image, kInputPixels, "input image", Overlay(sample.image, ItemBox(sample))),
                            sample.item ? "input; solid: the item's box" : "input", true);
  if (sample.erased) {
    const Box& square = *sample.erased;
    char fill[32];
    std::snprintf(fill, sizeof fill, "fill=\"#%02x%02x%02x\"", erased[0], erased[1], erased[2]);
    const std::string shape = Rectangle(square, fill) + Outline(square, "#fff", "2 3");
    const int side = square.bottom - square.top;
    html += Figure(Image(sample.image, kInputPixels, "input image with a square erased", Overlay(sample.image, shape)),
                   "with a square of " + std::to_string(side) + "x" + std::to_string(side) + " pixels erased", true);
  }
  return html;
}

// A box whose edges have crossed has none.
int64_t Area(int height, int width) { return int64_t{1} * std::max(height, 0) * std::max(width, 0); }

// Intersection over union, in per cent.
double Overlap(const Box& a, const Box& b) {
  const int64_t both = Area(std::min(a.bottom, b.bottom) - std::max(a.top, b.top),
                            std::min(a.right, b.right) - std::max(a.left, b.left));
  const int64_t either = Area(a.bottom - a.top, a.right - a.left) + Area(b.bottom - b.top, b.right - b.left) - both;
  return either > 0 ? 100.0 * static_cast<double>(both) / static_cast<double>(either) : 0;
}

std::string ActivationFigure(const SampleImage& sample) {
  if (sample.activation.empty()) return "";
  Picture picture{sample.image.height, sample.image.width, 1, Shades(sample.activation, 0, 1, 0, 255)};
  const std::string boxes = ItemBox(sample) + (sample.found ? Outline(*sample.found, "#F0A000", "6 4") : "");
  std::string caption = "class activation; ";
  char text[96];
  if (!sample.found) {
    caption += "no box found";
  } else if (sample.item) {
    std::snprintf(text, sizeof text, "dashed: the box above %.2f, overlap %.0f%%", static_cast<double>(sample.level),
                  Overlap(*sample.item, *sample.found));
    caption += text;
  } else {
    std::snprintf(text, sizeof text, "dashed: the box above %.2f", static_cast<double>(sample.level));
    caption += text;
  }
  return Figure(Image(picture, kMapPixels, caption, Overlay(picture, boxes)), caption, false);
}

std::string MapFigure(const MaskedMap& map) {
  CheckMap(map);
  const auto dropped = std::count(map.keep.begin(), map.keep.end(), 0);
  const std::string share = map.keep.empty()
                                ? "nothing is dropped"
                                : std::to_string(dropped) + " of " + std::to_string(map.keep.size()) + " dropped";
  const int scale = std::max(1, kMapPixels / std::max(map.height, map.width));
  return Figure(Image(DrawMap(map, scale), kMapPixels, map.title + ", " + share, ""), map.title + ": " + share, false);
}

std::string Prediction(const SampleImage& sample) {
  const auto verdict = [&](const std::string& predicted) {
    return predicted + (predicted == sample.label ? " (right)" : " (wrong)");
  };
  std::string html = Element("span", "prediction: " + verdict(sample.predicted));
  if (sample.erased) html += Element("span", "square erased: " + verdict(sample.predicted_erased));
  return html;
}

std::string MethodRow(const std::string& name, const SampleImage& sample) {
  std::string html = "<div class=\"method\"><div class=\"who\"><b>" + Breakable(name) + "</b>\n" + Prediction(sample) +
                     "</div>\n<div class=\"strip\">\n" + ActivationFigure(sample);
  for (const MaskedMap& map : sample.maps) html += MapFigure(map);
  return html + "</div></div>\n";
}

}  // namespace

Picture DrawMap(const MaskedMap& map, int scale) {
  const std::vector<uint8_t> shades = MapShades(map.values);
  Picture picture{map.height * scale, map.width * scale, 1, {}};
  picture.pixels.reserve(size_t{1} * picture.height * picture.width);
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      const size_t cell = size_t{1} * (y / scale) * map.width + x / scale;
      const bool dropped = !map.keep.empty() && map.keep[cell] == 0;
      // Lines run through neighbouring cells, so that a block reads as one.
      picture.pixels.push_back(!dropped ? shades[cell] : (x + y) % kHatchStep == 0 ? kHatch : Paler(shades[cell]));
    }
  }
  return picture;
}

std::string SamplePictures(const std::vector<RunSamples>& samples, const std::vector<std::string>& names,
                           const std::array<uint8_t, 3>& erased) {
  size_t images = 0;
  for (const RunSamples& run : samples) images = std::max(images, run.images.size());
  std::string html;
  for (size_t i = 0; i < images; ++i) {
    const auto first =
        std::find_if(samples.begin(), samples.end(), [&](const RunSamples& run) { return run.images.size() > i; });
    const SampleImage& sample = first->images[i];
    html += "<section class=\"sample\">\n" +
            Element("h3", "Test image " + std::to_string(i + 1) + ", of class " + sample.label) +
            "<div class=\"strip\">\n" + InputFigures(sample, erased) + "</div>\n";
    for (size_t k = 0; k < samples.size(); ++k) {
      if (samples[k].images.size() > i) html += MethodRow(names[k], samples[k].images[i]);
    }
    html += "</section>\n";
  }
  return html;
}

}  // namespace dropkit::cli
