// The table of a case's fields: how each is printed and read. Whole numbers are digits only, an f32 is its shortest
// text.
#include "cli/check/case.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <vector>

#include "cli/check/random_case.h"
#include "cli/check/spoil.h"
#include "cli/number.h"
#include "src/nearest.h"

namespace dropkit::check {
namespace {

template <typename Number>
bool ReadNumber(std::string_view text, Number* value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *value);
  return error == std::errc() && end == text.data() + text.size();
}

// A number from `low` to `high`.
template <typename Number>
bool ReadWithin(std::string_view text, int64_t low, int64_t high, Number* value) {
  int64_t number = 0;
  if (!ReadNumber(text, &number) || number < low || number > high) return false;
  *value = static_cast<Number>(number);
  return true;
}

template <typename Enum>
bool ReadWord(std::string_view text, std::initializer_list<const char*> words, Enum* value) {
  const auto found = std::find(words.begin(), words.end(), text);
  if (found == words.end()) return false;
  *value = static_cast<Enum>(found - words.begin());
  return true;
}

// ---------------------------------------------------------------- shapes and orders

std::string PrintShape(const Case& c) {
  std::string text = std::to_string(c.sizes[0]);
  for (int i = 1; i < 2 + c.spatial_dims; ++i) text += "," + std::to_string(c.sizes[i]);
  return text;
}

// What the reference can do and memory can hold. A size of 0 counts as 1, since strides are made from the others too.
bool IsOfSize(const Case& c) {
  int64_t left = int64_t{1} << 28;
  for (const int64_t size : c.sizes) left /= std::max<int64_t>(1, size);
  return left > 0;
}

bool ReadShape(std::string_view text, Case* c) {
  int count = 0;
  while (count < kAxes) {
    const size_t comma = text.find(',');
    if (!ReadWithin(text.substr(0, comma), 0, int64_t{1} << 24, &c->sizes[count++])) return false;
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (count == kAxes) return false;
  }
  std::fill(c->sizes + count, c->sizes + kAxes, 1);
  c->spatial_dims = count - 2;
  return count >= 2 && IsOfSize(*c);
}

// 01234/step/pad/flipped/expanded/offset; the axes alone when the rest is default.
std::string PrintOrder(const Order& order) {
  std::string text;
  for (const int axis : order.axes) text += static_cast<char>('0' + axis);
  for (const int64_t number : {order.step, order.pad, int64_t{order.flipped}, int64_t{order.expanded}, order.offset})
    text += "/" + std::to_string(number);
  const std::string rest = "/1/0/0/0/0";
  return text.substr(kAxes) == rest ? text.substr(0, kAxes) : text;
}

bool ReadOrder(std::string_view text, Order* order) {
  static constexpr int64_t kLow[] = {1, 0, 0, 0, 0}, kHigh[] = {1 << 16, 1 << 16, 31, 31, 1 << 16};
  std::string seen(text.substr(0, kAxes));
  std::sort(seen.begin(), seen.end());
  if (seen != "01234") return false;
  for (int i = 0; i < kAxes; ++i) order->axes[i] = text[i] - '0';
  text.remove_prefix(kAxes);
  if (text.empty()) return true;
  int64_t numbers[5];
  for (int i = 0; i < 5; ++i) {
    if (text.empty() || text[0] != '/') return false;
    text.remove_prefix(1);
    const size_t slash = std::min(text.find('/'), text.size());
    if (!ReadWithin(text.substr(0, slash), kLow[i], kHigh[i], &numbers[i])) return false;
    text.remove_prefix(slash);
  }
  order->step = numbers[0], order->pad = numbers[1], order->offset = numbers[4];
  order->flipped = static_cast<uint32_t>(numbers[2]), order->expanded = static_cast<uint32_t>(numbers[3]);
  return text.empty();
}

// ---------------------------------------------------------------- the fields

struct Field {
  const char* name;
  const char* allowed;
  std::string (*print)(const Case& c);
  bool (*read)(std::string_view text, Case* c);
};

std::string PrintBool(bool value) { return value ? "yes" : "no"; }

const char* const kRunners[] = {"pool", "reversed", "threads"};
const char* const kVerbs[] = {"sample", "drop", "spread", "pack", "split"};

const std::vector<Field>& Fields() {
  static const auto* fields = new std::vector<Field>{
      {"p", "a number", [](const Case& c) { return cli::Print(c.p); },
       [](std::string_view text, Case* c) { return ReadNumber(text, &c->p); }},
      {"memory", "yes, no: p lies in memory", [](const Case& c) { return PrintBool(c.p_in_memory); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"no", "yes"}, &c->p_in_memory);
       }},
      {"verb", "sample, drop, spread, pack, split", [](const Case& c) { return Name(c.verb); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"sample", "drop", "spread", "pack", "split"}, &c->verb);
       }},
      {"pass", "forward, backward",
       [](const Case& c) { return std::string(c.pass == Pass::kForward ? "forward" : "backward"); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"forward", "backward"}, &c->pass);
       }},
      {"shape", "N,C and 0 to 3 spatial sizes, at most 2^28 elements (a 0 counted as 1)", PrintShape, ReadShape},
      {"dtype", "f32, f16, bf16, f64", [](const Case& c) { return std::string(dropkit::Name(c.dtype)); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"f32", "f16", "bf16", "f64"}, &c->dtype);
       }},
      {"first", "0 to 2^62", [](const Case& c) { return std::to_string(c.first_sample); },
       [](std::string_view text, Case* c) { return ReadWithin(text, 0, int64_t{1} << 62, &c->first_sample); }},
      {"seed", "0 to 2^64 - 1", [](const Case& c) { return std::to_string(c.key[0]); },
       [](std::string_view text, Case* c) { return ReadNumber(text, &c->key[0]); }},
      {"offset", "0 to 2^64 - 1", [](const Case& c) { return std::to_string(c.key[1]); },
       [](std::string_view text, Case* c) { return ReadNumber(text, &c->key[1]); }},
      {"x", "an order, AXES or AXES/STEP/PAD/FLIPPED/EXPANDED/OFFSET", [](const Case& c) { return PrintOrder(c.x); },
       [](std::string_view text, Case* c) { return ReadOrder(text, &c->x); }},
      {"y", "an order without expanded axes", [](const Case& c) { return PrintOrder(c.y); },
       [](std::string_view text, Case* c) { return ReadOrder(text, &c->y) && c->y.expanded == 0; }},
      {"inplace", "yes, no", [](const Case& c) { return PrintBool(c.in_place); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"no", "yes"}, &c->in_place);
       }},
      {"run", "pool, reversed, threads",
       [](const Case& c) { return std::string(kRunners[static_cast<int>(c.runner)]); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"pool", "reversed", "threads"}, &c->runner);
       }},
      {"threads", "1 to 64", [](const Case& c) { return std::to_string(c.threads); },
       [](std::string_view text, Case* c) { return ReadWithin(text, 1, 64, &c->threads); }},
      {"scratch", "yes, no: the caller's", [](const Case& c) { return PrintBool(c.own_scratch); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"no", "yes"}, &c->own_scratch);
       }},
      {"onecount", "yes, no: the mask has one count, with over=tensor",
       [](const Case& c) { return PrintBool(c.one_count); },
       [](std::string_view text, Case* c) {
         return ReadWord(text, {"no", "yes"}, &c->one_count);
       }},
      {"cut", "0 to 2^24", [](const Case& c) { return std::to_string(c.cut); },
       [](std::string_view text, Case* c) { return ReadWithin(text, 0, int64_t{1} << 24, &c->cut); }},
      {"data", "0 to 2^64 - 1", [](const Case& c) { return std::to_string(c.data); },
       [](std::string_view text, Case* c) { return ReadNumber(text, &c->data); }},
      {"onein", "1 to 2^24", [](const Case& c) { return std::to_string(c.one_in); },
       [](std::string_view text, Case* c) { return ReadWithin(text, 1, int64_t{1} << 24, &c->one_in); }},
      {"spoilt", "the name of what is wrong with the call, such as key.null", [](const Case& c) { return c.spoilt; },
       [](std::string_view text, Case* c) {
         c->spoilt = text;
         return FindSpoil(c->spoilt) != nullptr;
       }},
  };
  return *fields;
}

Status ReadField(std::string_view word, Case* c) {
  const size_t equals = word.find('=');
  const std::string_view name = word.substr(0, equals);
  std::vector<std::string> names;
  for (const Field& field : Fields()) {
    names.push_back(field.name);
    if (equals == std::string_view::npos || name != field.name) continue;
    if (field.read(word.substr(equals + 1), c)) return Status();
    return Status::Invalid("'" + std::string(word) + "'; allowed for " + field.name + ": " + field.allowed);
  }
  return Status::Invalid("'" + std::string(word) + "' is not a field of a case" + DidYouMean(std::string(name), names) +
                         " known: " + Join(names));
}

// What is drawn and shrunk goes through MakeSound(), so a line that it would change is none that a run prints.
Status JudgeWhole(const Case& c) {
  Case sound = c;
  const bool saved = MakeSound(&sound);
  if (!saved && !c.spoilt.empty())
    return Status::Invalid("spoilt=" + c.spoilt +
                           " does not make this call wrong; allowed: what fits its verb, shape " +
                           "and orders, with p from 0 to 1");
  if (!saved || Print(sound) != Print(c))
    return Status::Invalid("'" + Print(c) + "' contradicts itself; allowed in its place: '" + Print(sound) + "'");
  return Status();
}

// What no single field can tell.
Status Judge(const Case& c) {
  const bool apart = !c.in_place || c.x.expanded == 0;
  if (!apart) return Status::Invalid("inplace=yes; allowed with it: an order of x without expanded axes");
  if (!c.p_in_memory && !(c.p >= 0.0f && c.p <= 1.0f))
    return Status::Invalid("p=" + cli::Print(c.p) + "; allowed: 0 to 1, or any number with memory=yes");
  if (c.verb == Verb::kPack && (c.spec.method != Method::kDropout || c.spec.share != Share::kNone))
    return Status::Invalid("verb=pack; allowed with it: dropout with share=none");
  return JudgeWhole(c);
}

}  // namespace

std::string Name(Verb verb) { return kVerbs[static_cast<int>(verb)]; }

std::string Print(const Case& c) {
  static const Case kDefaults;
  std::string line = PrintSpec(c.spec);
  for (const Field& field : Fields()) {
    const std::string text = field.print(c);
    if (text != field.print(kDefaults) || field.name == std::string_view("shape"))
      line += std::string(" ") + field.name + "=" + text;
  }
  return line;
}

Status ReadCase(std::string_view line, Case* c) {
  Case read;
  bool first = true;
  while (!line.empty()) {
    const size_t blank = std::min(line.find(' '), line.size());
    const std::string_view word = line.substr(0, blank);
    line.remove_prefix(std::min(line.size(), blank + 1));
    if (word.empty()) continue;
    Status status = first ? ParseSpec(word, &read.spec) : ReadField(word, &read);
    if (!status.ok()) return status;
    first = false;
  }
  if (first) return Status::Invalid("a case is empty; allowed: SPEC and fields such as shape=2,3,8,8");
  if (Status status = Judge(read); !status.ok()) return status;
  *c = read;
  return Status();
}

}  // namespace dropkit::check
