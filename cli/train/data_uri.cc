// Compression is libpng's; base64 is RFC 4648's, with padding.
#include "cli/train/data_uri.h"

#include <png.h>

#include <cstdint>
#include <stdexcept>
#include <vector>

namespace dropkit::cli {
namespace {

std::string Base64(const std::vector<uint8_t>& bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t k = 0; k < 3; ++k) group = group << 8 | (i + k < bytes.size() ? bytes[i + k] : 0u);
    for (size_t k = 0; k < 4; ++k) text += i + k > bytes.size() ? '=' : kDigits[group >> (18 - 6 * k) & 63];
  }
  return text;
}

void Check(const Picture& picture) {
  const bool sizes = picture.height > 0 && picture.width > 0 && (picture.channels == 1 || picture.channels == 3);
  if (sizes && picture.pixels.size() == size_t{1} * picture.height * picture.width * picture.channels) return;
  throw std::runtime_error("a picture of " + std::to_string(picture.height) + "x" + std::to_string(picture.width) +
                           " with " + std::to_string(picture.channels) + " channels (1 and 3 are allowed) and " +
                           std::to_string(picture.pixels.size()) + " bytes");
}

}  // namespace

std::string PngDataUri(const Picture& picture) {
  Check(picture);
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(picture.width);
  image.height = static_cast<png_uint_32>(picture.height);
  image.format = picture.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  std::vector<uint8_t> bytes(PNG_IMAGE_PNG_SIZE_MAX(image));
  png_alloc_size_t size = bytes.size();
  if (png_image_write_to_memory(&image, bytes.data(), &size, 0, picture.pixels.data(), 0, nullptr) == 0)
    throw std::runtime_error(std::string("libpng: ") + image.message);
  bytes.resize(size);
  return "data:image/png;base64," + Base64(bytes);
}

}  // namespace dropkit::cli
