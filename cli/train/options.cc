// Options of `dropkit train`, and the command line that repeats them.
// Numbers outside what the data allow are found later, in task.cc; an option's own range is found here.
#include "cli/train/options.h"

#include <algorithm>

#include "cli/number.h"
#include "src/nearest.h"

namespace dropkit::cli {
namespace {

constexpr uint64_t kMaxEpochs = 1000000;
constexpr uint64_t kMaxThreads = 1024;

// "a, b and c".
std::string Listed(const std::vector<std::string>& words) {
  std::string text;
  for (size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 < words.size() ? ", " : " and ") + words[i];
  return text;
}

// "default: scenes 20, fashion 30", from the tasks' own settings.
template <class Field>
std::string TaskDefaults(Field field) {
  std::string text = "default: ";
  for (const Task& task : Tasks()) {
    text += (&task == &Tasks().front() ? "" : ", ") + task.name + " " + std::to_string(field(task));
  }
  return text;
}

int64_t NumberOr(const char* option, const std::string& text, int64_t otherwise, uint64_t largest, uint64_t smallest) {
  return text.empty() ? otherwise : static_cast<int64_t>(ReadNumber(option, text, largest, smallest));
}

// none, none-N (none with N epochs), or a case line.
MethodCase ParseMethod(const std::string& text) {
  MethodCase method;
  method.name = text;
  if (text == "none") return method;
  if (text.starts_with("none-")) {
    method.epochs = static_cast<int>(ReadNumber(("--methods " + text).c_str(), text.substr(5), kMaxEpochs, 1));
    return method;
  }
  method.none = false;
  const Status status = ParseCase(text, &method.spec, &method.p);
  if (!status.ok()) throw CLI::ValidationError("--methods", status.message() + "; none and none-N are allowed too");
  return method;
}

// Between single quotes a shell takes everything as it is but the single quote.
std::string Quoted(const std::string& word) {
  const auto plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || std::string("@%+=:,./_-").find(c) != std::string::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), plain)) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? "'\\''" : std::string(1, c);
  return quoted + "'";
}

}  // namespace

const Task& FindTask(const std::string& name) {
  std::vector<std::string> names;
  for (const Task& task : Tasks()) {
    if (task.name == name) return task;
    names.push_back(task.name);
  }
  throw CLI::ValidationError("--task",
                             "'" + name + "'" + DidYouMean(name, names) + " " + Listed(names) + " are allowed");
}

std::string DataDirectory(const Options& options, const Task& task) {
  if (!options.data.empty()) return options.data;
  if (!task.data.empty()) return task.data;
  throw CLI::ValidationError("--data",
                             "task " + task.name +
                                 " needs a directory that holds CIFAR-10's data_batch_1.bin to "
                                 "data_batch_5.bin and test_batch.bin, or CIFAR-100's train.bin and test.bin");
}

std::vector<uint64_t> ParseSeeds(const std::string& text) {
  std::vector<uint64_t> seeds;
  for (size_t start = 0, end = 0; end != std::string::npos; start = end + 1) {
    end = text.find(',', start);
    seeds.push_back(
        ReadNumber("--seeds", text.substr(start, end == std::string::npos ? end : end - start), UINT64_MAX));
    if (std::count(seeds.begin(), seeds.end(), seeds.back()) > 1) {
      throw CLI::ValidationError("--seeds", std::to_string(seeds.back()) + " is given twice");
    }
  }
  return seeds;
}

std::vector<MethodCase> ParseMethods(const Options& options, const Task& task, int epochs) {
  std::vector<MethodCase> methods;
  for (const std::string& text : options.methods.empty() ? task.methods : options.methods) {
    const MethodCase method = ParseMethod(text);
    // Among the defaults, none-N stands for stopping early.
    if (options.methods.empty() && method.epochs > 0 && method.epochs >= epochs) continue;
    if (std::any_of(methods.begin(), methods.end(), [&](const MethodCase& other) { return other.name == text; })) {
      throw CLI::ValidationError("--methods", "'" + text + "' is given twice");
    }
    methods.push_back(method);
  }
  return methods;
}

RunSettings CommonSettings(const Options& options, const Task& task) {
  RunSettings common{};
  common.task = &task;
  common.epochs = static_cast<int>(NumberOr("--epochs", options.epochs, task.epochs, kMaxEpochs, 0));
  common.train_size = NumberOr("--train-size", options.train_size, task.train_size, INT32_MAX, kBatch);
  common.test_size = NumberOr("--test-size", options.test_size, task.test_size, INT32_MAX, 1);
  common.resume = options.resume;
  return common;
}

int ParseThreads(const Options& options) {
  return static_cast<int>(NumberOr("--threads", options.threads, 0, kMaxThreads, 0));
}

void CheckDevice(const std::string& device) {
  if (device == "cpu") return;
  const bool cuda = device.starts_with("cuda");
  throw CLI::ValidationError(
      "--device", "'" + device + "': " + (cuda ? "training on CUDA does not exist yet; " : "") + "cpu is allowed");
}

void AddOptions(CLI::App& train, Options& options) {
  train
      .add_option("--task", options.task,
                  "scenes: cluttered grey 56x56 scenes; fashion: plain grey 28x28 images; cifar: colour 32x32 images")
      ->type_name("NAME")
      ->capture_default_str();
  train
      .add_option("--methods", options.methods,
                  "none, none-N (N epochs) or a case such as dropblock:block=7@0.1; repeat the option for more "
                  "(default: the whole family with the task's settings)")
      ->type_name("CASE")
      ->allow_extra_args(false);
  train.add_option("--seeds", options.seeds, "numbers: one run for each method and seed")
      ->type_name("N,N,...")
      ->capture_default_str();
  const auto add_number = [&](const char* name, std::string& text, const std::string& what, auto field) {
    train.add_option(name, text, what + TaskDefaults(field))->type_name("N");
  };
  add_number("--epochs", options.epochs, "0 trains nothing and measures the untrained networks; ",
             [](const Task& task) { return task.epochs; });
  add_number("--train-size", options.train_size, "training images; ", [](const Task& task) { return task.train_size; });
  add_number("--test-size", options.test_size, "test images; ", [](const Task& task) { return task.test_size; });
  train
      .add_option("--data", options.data,
                  "directory of IDX files, plain or .gz (scenes and fashion; default: Fashion-MNIST of Debian's "
                  "dataset-fashion-mnist), or of CIFAR-10's or CIFAR-100's .bin files (cifar)")
      ->type_name("DIR");
  train
      .add_option("--out", options.out,
                  "directory for results.json, results.csv, report.html and checkpoints; replaces those there")
      ->type_name("DIR");
  train.add_flag("--resume", options.resume, "go on from the checkpoints in --out, to the same weights bit for bit");
  train.add_option("--threads", options.threads, "0, the default, is torch's own choice")->type_name("N");
  train.add_option("--device", options.device, "cpu")->type_name("NAME")->capture_default_str();
}

std::string CommandLine(const Options& options) {
  std::string line = "dropkit train";
  const auto add = [&](const char* option, const std::string& value) {
    if (!value.empty()) line += std::string(" ") + option + " " + Quoted(value);
  };
  add("--task", options.task);
  add("--data", options.data);
  for (const std::string& method : options.methods) add("--methods", method);
  add("--seeds", options.seeds);
  add("--epochs", options.epochs);
  add("--train-size", options.train_size);
  add("--test-size", options.test_size);
  add("--threads", options.threads);
  add("--out", options.out);
  return line;
}

}  // namespace dropkit::cli
