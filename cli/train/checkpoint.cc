// safetensors: 8 bytes of header length, a JSON header {name: {dtype, shape, data_offsets}, "__metadata__": {...}},
// data. The header is checked in full before any of it is used: types, sizes, and offsets that tile the data exactly.
#include "cli/train/checkpoint.h"

#include <zlib.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "cli/file.h"

namespace dropkit::cli {
namespace {

using nlohmann::json;
constexpr const char* kTexts = "__metadata__";
constexpr const char* kChecksum = "crc32";
constexpr size_t kLengthBytes = 8;

[[noreturn]] void Refuse(const std::string& path, const std::string& why) {
  throw std::runtime_error("checkpoint " + path + ": " + why +
                           "; remove it, or run without --resume, to train this run from the start");
}

size_t ElementSize(const std::string& dtype) {
  if (dtype == "F32") return 4;
  if (dtype == "I64") return 8;
  return dtype == "U8" ? 1 : 0;
}

std::string Crc(const uint8_t* data, size_t size) { return std::to_string(crc32_z(0, data, size)); }

std::vector<uint8_t> ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) Refuse(path, "cannot be opened");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Bytes of a tensor as its header entry has it; throws what json throws, or std::overflow_error.
size_t EntryBytes(const Blob& blob) {
  size_t bytes = ElementSize(blob.dtype);
  for (const int64_t size : blob.shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, static_cast<size_t>(size), &bytes)) throw std::overflow_error("size");
  }
  return bytes;
}

// json converts any number: one that no integer can hold would be undefined.
template <typename Integer>
std::vector<Integer> Integers(const json& list) {
  for (const json& number : list) {
    if (!number.is_number_integer()) throw std::out_of_range("not an integer");
  }
  return list.get<std::vector<Integer>>();
}

// One entry of the header, whose data start where those of the entry before it ended.
Blob ReadEntry(const json& entry, const std::vector<uint8_t>& data, size_t* position) {
  Blob blob{entry.at("dtype").get<std::string>(), Integers<int64_t>(entry.at("shape")), {}};
  const auto offsets = Integers<uint64_t>(entry.at("data_offsets"));
  const size_t bytes = EntryBytes(blob);
  if (ElementSize(blob.dtype) == 0 || offsets.size() != 2 || offsets[0] != *position || offsets[1] < offsets[0] ||
      offsets[1] > data.size() || offsets[1] - offsets[0] != bytes) {
    throw std::out_of_range("offsets");
  }
  blob.bytes.assign(data.begin() + offsets[0], data.begin() + offsets[1]);
  *position = offsets[1];
  return blob;
}

// The writer stores entries in the order of their names, and json objects iterate in that order.
Checkpoint Parse(const json& header, const std::vector<uint8_t>& data) {
  Checkpoint checkpoint;
  size_t position = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == kTexts) {
      checkpoint.texts = entry.get<std::map<std::string, std::string>>();
    } else {
      checkpoint.blobs[name] = ReadEntry(entry, data, &position);
    }
  }
  if (position != data.size()) throw std::out_of_range("data");
  return checkpoint;
}

}  // namespace

void WriteCheckpoint(const std::string& path, const Checkpoint& checkpoint) {
  json header = json::object();
  std::vector<uint8_t> data;
  for (const auto& [name, blob] : checkpoint.blobs) {
    const size_t start = data.size();
    data.insert(data.end(), blob.bytes.begin(), blob.bytes.end());
    header[name] = {{"dtype", blob.dtype}, {"shape", blob.shape}, {"data_offsets", {start, data.size()}}};
  }
  header[kTexts] = checkpoint.texts;
  header[kTexts][kChecksum] = Crc(data.data(), data.size());
  std::string text = header.dump();
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes,
              ' ');  // readers map the data: keep it aligned
  const uint64_t length = text.size();
  ReplaceFile(path, [&](std::FILE* file) {
    std::fwrite(&length, kLengthBytes, 1, file);
    std::fwrite(text.data(), 1, text.size(), file);
    std::fwrite(data.data(), 1, data.size(), file);
  });
}

Checkpoint ReadCheckpoint(const std::string& path) {
  const std::vector<uint8_t> bytes = ReadAll(path);
  uint64_t length = 0;
  if (bytes.size() >= kLengthBytes) std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length == 0 || length > bytes.size() - kLengthBytes)
    Refuse(path, "truncated, or not a checkpoint of dropkit train");
  const auto begin = bytes.begin() + kLengthBytes;
  const json header = json::parse(begin, begin + length, nullptr, false);
  if (!header.is_object()) Refuse(path, "not a checkpoint of dropkit train: its header is not JSON");
  const std::vector<uint8_t> data(begin + length, bytes.end());
  Checkpoint checkpoint;
  try {
    checkpoint = Parse(header, data);
  } catch (const std::bad_alloc&) {
    throw;  // the file is not to blame
  } catch (const std::exception&) {
    Refuse(path, "truncated or damaged: its header and its " + std::to_string(data.size()) + " bytes of data disagree");
  }
  if (checkpoint.texts[kChecksum] != Crc(data.data(), data.size())) Refuse(path, "damaged: the checksum is wrong");
  checkpoint.texts.erase(kChecksum);
  return checkpoint;
}

}  // namespace dropkit::cli
