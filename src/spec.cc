// Spec line <-> Spec: the one parser, the one printer, and every message about a bad spec line. A key is a row of
// KeyTable: its name, its values, how to read and how to print it.
#include <pthread.h>

#include <atomic>
#include <charconv>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

#include "dropkit/dropkit.h"
#include "guarded.h"
#include "methods.h"
#include "nearest.h"
#include "number.h"

namespace dropkit {
namespace {

// ---------------------------------------------------------------- values

// Constant data, so that a spec may be parsed before main and after it.
template <typename Enum, size_t kCount>
struct Words {
  const char* words[kCount];  // in the enum's order
  bool Read(std::string_view text, Enum* value) const {
    for (size_t i = 0; i < kCount; ++i) {
      if (words[i] == text) {
        *value = static_cast<Enum>(i);
        return true;
      }
    }
    return false;
  }
  std::string Print(Enum value) const { return words[static_cast<size_t>(value)]; }
};

constexpr Words<Share, 4> kShares{{"none", "channels", "batch", "all"}};
constexpr Words<Normalize, 4> kNormalizes{{"kept", "expected", "asked", "none"}};
constexpr Words<Over, 3> kOvers{{"tensor", "sample", "plane"}};
constexpr Words<Region, 2> kRegions{{"valid", "whole"}};
constexpr Words<Rate, 4> kRates{{"paper", "calibrated", "plain", "raw"}};
constexpr Words<Anchor, 2> kAnchors{{"before", "after"}};
constexpr Words<Clip, 4> kClips{{"axis", "square", "none", "error"}};

template <typename Number>
bool ReadNumber(std::string_view text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// "7" or "3x5": one number for every axis, or one per axis.
bool ReadExtent(std::string_view text, Spec* spec) {
  int count = 0;
  while (count < 3) {
    const size_t cross = text.find('x');
    if (!ReadNumber(text.substr(0, cross), &spec->extent[count]) || !IsExtent(spec->extent[count])) return false;
    ++count;
    if (cross == std::string_view::npos) break;
    text.remove_prefix(cross + 1);
    if (count == 3) return false;
  }
  for (int axis = count; axis < 3; ++axis) spec->extent[axis] = spec->extent[count - 1];
  spec->extent_dims = count;
  return true;
}

bool ReadFill(std::string_view text, Spec* spec) {
  spec->fill_value = 0.0;
  spec->fill = text == "noise" ? Fill::kNoise : Fill::kNumber;
  return text == "noise" || (ReadNumber(text, &spec->fill_value) && IsFill(spec->fill_value));
}

std::string PrintFill(const Spec& spec) { return spec.fill == Fill::kNoise ? "noise" : PrintNumber(spec.fill_value); }

// ---------------------------------------------------------------- keys

struct KeyRow {
  KeyBit bit;
  const char* name;
  const char* allowed;
  bool (*read)(std::string_view text, Spec* spec);
  std::string (*print)(const Spec& spec);
};

#define DROPKIT_WORD_KEY(words, field)                                                \
  [](std::string_view text, Spec* spec) { return (words).Read(text, &spec->field); }, \
      [](const Spec& spec) { return (words).Print(spec.field); }

const std::vector<KeyRow>& KeyTable() {
  static const auto* table = new std::vector<KeyRow>{
      {kKeyExtent, "block", "a whole number from 1 to 2^20, or one per axis joined by x, such as 3x5", ReadExtent,
       ExtentText},
      {kKeyHoles, "holes", "a whole number from 1 to 65535",
       [](std::string_view text, Spec* spec) { return ReadNumber(text, &spec->holes) && IsHoles(spec->holes); },
       [](const Spec& spec) { return PrintNumber(spec.holes); }},
      {kKeyRegion, "region", "valid, whole", DROPKIT_WORD_KEY(kRegions, region)},
      {kKeyRate, "rate", "paper, calibrated, plain, raw", DROPKIT_WORD_KEY(kRates, rate)},
      {kKeyGammaScale, "gamma_scale", "a finite number >= 0",
       [](std::string_view text, Spec* spec) {
         return ReadNumber(text, &spec->gamma_scale) && IsGammaScale(spec->gamma_scale);
       },
       [](const Spec& spec) { return PrintNumber(spec.gamma_scale); }},
      {kKeyAnchor, "anchor", "before, after", DROPKIT_WORD_KEY(kAnchors, anchor)},
      {kKeyClip, "clip", "axis, square, none, error", DROPKIT_WORD_KEY(kClips, clip)},
      {kKeyShare, "share", "none, channels, batch, all", DROPKIT_WORD_KEY(kShares, share)},
      {kKeyNormalize, "normalize", "kept, expected, asked, none", DROPKIT_WORD_KEY(kNormalizes, normalize)},
      {kKeyOver, "over", "tensor, sample, plane", DROPKIT_WORD_KEY(kOvers, over)},
      {kKeyFill, "fill", "a number, noise", ReadFill, PrintFill},
  };
  return *table;
}
#undef DROPKIT_WORD_KEY

// cutout calls its extent `size`, dropblock `block`.
std::string NameOf(const KeyRow& key, const MethodRow& row) {
  return key.bit == kKeyExtent && row.method == Method::kCutout ? "size" : key.name;
}

std::vector<std::string> KeyNames(const MethodRow& row) {
  std::vector<std::string> names;
  for (const KeyRow& key : KeyTable()) {
    if (row.keys & key.bit) names.push_back(NameOf(key, row));
  }
  return names;
}

const KeyRow* FindKey(const MethodRow& row, std::string_view name) {
  for (const KeyRow& key : KeyTable()) {
    if ((row.keys & key.bit) && NameOf(key, row) == name) return &key;
  }
  return nullptr;
}

// ---------------------------------------------------------------- lines

std::string Quoted(std::string_view text) { return "'" + std::string(text) + "'"; }

// "draw=1", at the end of every full line: the version of docs/draws.md that gives the line its meaning.
Status ReadDrawVersion(std::string_view value, const std::string& where) {
  int version = 0;
  if (ReadNumber(value, &version) && version == kDrawVersion) return Status();
  return Status::Invalid(where + "draw=" + std::string(value) + "; this build draws by version " +
                         std::to_string(kDrawVersion));
}

Status ReadKeys(std::string_view text, const MethodRow& row, const std::string& where, Spec* spec) {
  uint32_t seen = 0;
  bool seen_draw = false;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    const size_t equals = pair.find('=');
    const std::string_view name = pair.substr(0, equals);
    if (equals == std::string_view::npos) {
      return Status::Invalid(where + Quoted(pair) + " is not KEY=VALUE; keys: " + Join(KeyNames(row)));
    }
    const std::string_view value = pair.substr(equals + 1);
    const KeyRow* key = FindKey(row, name);
    const bool is_draw = name == "draw";
    if (!key && !is_draw) {
      return Status::Invalid(where + "unknown key " + Quoted(name) + DidYouMean(name, KeyNames(row)) + " keys of " +
                             row.name + ": " + Join(KeyNames(row)));
    }
    if (is_draw ? seen_draw : (seen & key->bit) != 0) {
      return Status::Invalid(where + "key " + Quoted(name) + " is given twice; allowed: once");
    }
    if (is_draw) {
      seen_draw = true;
      if (Status status = ReadDrawVersion(value, where); !status.ok()) return status;
    } else {
      seen |= key->bit;
      if (!key->read(value, spec)) {
        return Status::Invalid(where + std::string(name) + "=" + std::string(value) + "; allowed: " + key->allowed);
      }
    }
    if (comma == std::string_view::npos) return Status();
    text.remove_prefix(comma + 1);
  }
}

Status ParseFresh(std::string_view line, Spec* spec) {
  const std::string where = "spec " + Quoted(line) + ": ";
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  std::vector<std::string> known;
  const MethodRow* row = nullptr;
  for (const MethodRow& candidate : MethodTable()) {
    known.push_back(candidate.name);
    if (name == candidate.name) row = &candidate;
  }
  Spec result;
  if (row) {
    result = row->defaults;
  } else {
    for (const PresetRow& preset : PresetTable()) {
      known.push_back(preset.name);
      if (name != preset.name) continue;
      if (Status status = ParseSpec(preset.line, &result); !status.ok()) return status;
      row = &RowOf(result.method);
    }
  }
  if (!row) {
    return Status::Invalid(where + "unknown method or preset " + Quoted(name) + DidYouMean(name, known) +
                           " known: " + Join(known));
  }
  if (colon != std::string_view::npos) {
    if (Status status = ReadKeys(line.substr(colon + 1), *row, where, &result); !status.ok()) return status;
  }
  if (Status status = ValidateSpec(result); !status.ok()) return Status::Invalid(where + status.message());
  *spec = result;
  return Status();
}

struct TextHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};

// Parsed lines by text. Bounded, so that a program that makes lines up cannot fill the memory with them. A forked child
// starts a new one, because the parent's lock may have been held at the fork.
struct Memo {
  static constexpr size_t kMost = 4096;
  std::shared_mutex mutex;
  std::unordered_map<std::string, Spec, TextHash, std::equal_to<>> lines;
};

std::atomic<Memo*> the_memo{nullptr};

Memo& TheMemo() {
  Memo* memo = the_memo.load(std::memory_order_acquire);
  if (memo) return *memo;
  static const int registered = pthread_atfork(nullptr, nullptr, [] { the_memo.store(nullptr); });
  (void)registered;
  auto* fresh = new Memo;
  if (the_memo.compare_exchange_strong(memo, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *memo;
}

float DefaultP(std::string_view line, const Spec& spec) {
  const std::string_view name = line.substr(0, line.find(':'));
  for (const PresetRow& preset : PresetTable()) {
    if (name == preset.name) return preset.default_p;
  }
  return RowOf(spec.method).default_p;
}

Status ParseMemoised(std::string_view line, Spec* spec) {
  Memo& memo = TheMemo();
  {
    std::shared_lock lock(memo.mutex);
    if (const auto found = memo.lines.find(line); found != memo.lines.end()) {
      *spec = found->second;
      return Status();
    }
  }
  Spec parsed;
  if (Status status = ParseFresh(line, &parsed); !status.ok()) return status;
  std::unique_lock lock(memo.mutex);
  if (memo.lines.size() >= Memo::kMost) memo.lines.clear();
  memo.lines.emplace(line, parsed);
  *spec = parsed;
  return Status();
}

Status ParseCaseLine(std::string_view line, Spec* spec, float* p) {
  if (!spec || !p) return Status::Invalid(std::string(spec ? "p" : "spec") + " = null; allowed: a place to fill");
  const size_t at = line.rfind('@');
  Spec parsed;
  if (Status status = ParseSpec(line.substr(0, at), &parsed); !status.ok()) return status;
  float value = DefaultP(line, parsed);
  if (at != std::string_view::npos) {
    double number = 0.0;
    const std::string_view text = line.substr(at + 1);
    if (!ReadNumber(text, &number) || !(number >= 0.0 && number <= 1.0)) {
      return Status::Invalid("case " + Quoted(line) + ": p = " + Quoted(text) + "; allowed: a number from 0 to 1");
    }
    value = static_cast<float>(number);
  }
  *spec = parsed;
  *p = value;
  return Status();
}

}  // namespace

Status ParseSpec(std::string_view line, Spec* spec) {
  return Guarded([&] {
    if (!spec) return Status::Invalid("spec = null; allowed: a spec to fill");
    if (line.find('@') != std::string_view::npos) {
      return Status::Invalid("spec " + Quoted(line) + ": @P belongs to a case; allowed: METHOD[:KEY=VALUE,...]");
    }
    return ParseMemoised(line, spec);
  });
}

Status ParseCase(std::string_view line, Spec* spec, float* p) {
  return Guarded([&] { return ParseCaseLine(line, spec, p); });
}

std::string PrintSpec(const Spec& spec, SpecForm form) {
  if (!ValidateSpec(spec).ok()) return "(invalid spec)";
  const MethodRow& row = RowOf(spec.method);
  std::string keys;
  for (const KeyRow& key : KeyTable()) {
    if (!(row.keys & key.bit)) continue;
    const std::string value = key.print(spec);
    if (form == SpecForm::kShort && value == key.print(row.defaults)) continue;
    keys += (keys.empty() ? ":" : ",") + NameOf(key, row) + "=" + value;
  }
  if (form == SpecForm::kFull) keys += ",draw=" + std::to_string(kDrawVersion);
  return row.name + keys;
}

std::vector<MethodInfo> Methods() {
  std::vector<MethodInfo> infos;
  for (const MethodRow& row : MethodTable()) {
    infos.push_back({row.name, row.unit_text, row.spread_text, Join(KeyNames(row)), row.paper,
                     PrintSpec(row.defaults, SpecForm::kFull), row.default_p});
  }
  return infos;
}

std::vector<PresetInfo> Presets() {
  std::vector<PresetInfo> infos;
  for (const PresetRow& row : PresetTable()) {
    Spec spec;
    const Status status = ParseSpec(row.line, &spec);
    infos.push_back(
        {row.name, status.ok() ? PrintSpec(spec, SpecForm::kFull) : status.message(), row.source, row.default_p});
  }
  return infos;
}

}  // namespace dropkit
