// All randomness is one engine of the standard library; nothing here is checked, the tests that use it do that.
#include "synthetic_job.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>

namespace dropkit::cli {
namespace {

using Engine = std::mt19937_64;

double Uniform(Engine& engine) { return static_cast<double>(engine() >> 11) * 0x1p-53; }

double Noise(Engine& engine) {  // of variance 1
  double sum = 0;
  for (int i = 0; i < 12; ++i) sum += Uniform(engine);
  return sum - 6;
}

RunResult MakeRun(const SyntheticJob& job, const std::string& method, size_t place, uint64_t seed, int epochs) {
  Engine engine(1000 * place + seed);
  RunResult run;
  run.task = job.info.task;
  run.method = method;
  run.spec = method.starts_with("none") ? "" : method;
  run.seed = seed;
  run.epochs = method.starts_with("none-") ? std::atoi(method.c_str() + 5) : epochs;
  const double best = 83 + 0.4 * static_cast<double>(place % 5) + 0.4 * Noise(engine);
  for (int epoch = 1; epoch <= run.epochs; ++epoch) {
    const double share = 1 - std::exp(-3.5 * epoch / std::max(run.epochs, 5));
    run.curve.push_back({(best + 9 - 3.0 * static_cast<double>(place % 4)) * share + 0.4 * Noise(engine),
                         best * (0.35 + 0.65 * share) + 0.7 * Noise(engine)});
  }
  run.train = run.curve.empty() ? 0 : run.curve.back().train;
  run.clean = best;
  const std::vector<int> sides = job.info.task == "scenes" ? std::vector<int>{10, 14} : std::vector<int>{6, 10, 14};
  for (const int side : sides) run.erased[side] = best - 2.2 * side + 0.9 * Noise(engine);
  if (job.info.task == "scenes") run.locmax = 40 + 2.0 * static_cast<double>(place) + 2 * Noise(engine);
  run.sec_per_epoch = 2.5 + Uniform(engine);
  run.weights = "0123456789abcdef";
  run.commit = "0123456789ab";
  return run;
}

Picture MakeImage(Engine& engine, int side, const Box& item) {
  Picture picture{side, side, 1, {}};
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      const bool inside = y >= item.top && y < item.bottom && x >= item.left && x < item.right;
      const double shade = inside ? 150 + 60 * std::sin(0.9 * x) : (x + 2 * y) % 17 < 5 ? 110 : 20;
      picture.pixels.push_back(static_cast<uint8_t>(std::clamp(shade + 8 * Noise(engine), 0., 255.)));
    }
  }
  return picture;
}

MaskedMap MakeMap(Engine& engine, const std::string& title, int height, int width, const std::string& method) {
  MaskedMap map{title, height, width, {}, {}};
  for (int i = 0; i < height * width; ++i)
    map.values.push_back(static_cast<float>(std::sin(0.2 * i) + 0.4 * Noise(engine)));
  if (method.starts_with("none")) return map;
  map.keep.assign(map.values.size(), 1);
  const bool blocks = method.starts_with("dropblock");
  for (int i = 0; i < (blocks ? 2 : height * width / 8); ++i) {
    const int size = blocks ? std::min({5, height, width}) : 1;
    const auto top = static_cast<int>(engine() % static_cast<uint64_t>(height - size + 1));
    const auto left = static_cast<int>(engine() % static_cast<uint64_t>(width - size + 1));
    for (int y = top; y < top + size; ++y) std::fill_n(map.keep.begin() + y * width + left, size, 0);
  }
  return map;
}

void AddActivation(Engine& engine, SampleImage& sample) {
  const int side = sample.image.height;
  const double row = (sample.item->top + sample.item->bottom) / 2.0 + 3 * Noise(engine);
  const double col = (sample.item->left + sample.item->right) / 2.0 + 3 * Noise(engine);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x)
      sample.activation.push_back(static_cast<float>(std::exp(-((y - row) * (y - row) + (x - col) * (x - col)) / 260)));
  }
  const auto edge = [&](double value) { return std::clamp(static_cast<int>(value), 0, side); };
  sample.level = 0.35f;
  sample.found = Box{edge(row - 16), edge(col - 16), edge(row + 16), edge(col + 16)};
}

SampleImage MakeSample(const std::string& task, const std::string& method, size_t place, int index) {
  const bool scenes = task == "scenes";
  const int side = scenes ? 56 : 28, from = scenes ? 4 + 9 * (index % 3) : 3;
  const Box item{from, from + 2, from + (scenes ? 26 : 22), from + (scenes ? 24 : 20)};
  Engine same(77 + index), own(1000 * place + index);  // the image is the same for every method
  SampleImage sample;
  sample.image = MakeImage(same, side, item);
  sample.label = "ankle boot";
  sample.predicted = own() % 4 == 0 ? "sandal" : "ankle boot";
  sample.erased = Box{item.top + 5, item.left + 4, item.top + 15, item.left + 14};
  sample.predicted_erased = own() % 2 == 0 ? "sneaker" : "ankle boot";
  if (method.starts_with("cutout")) {
    sample.maps.push_back(MakeMap(own, "input, 56x56", side, side, "dropblock"));
  } else if (method.starts_with("drop_connect")) {
    sample.maps.push_back(MakeMap(own, "last layer's weights, 10x32", 10, 32, method));
  } else {
    sample.maps.push_back(MakeMap(own, "stage 1, 14x14, channel 3", 14, 14, method));
    sample.maps.push_back(MakeMap(own, "stage 1, 14x14, channel 9", 14, 14, method));
    sample.maps.push_back(MakeMap(own, "stage 4, 7x7, channel 0", 7, 7, method));
  }
  if (scenes) {
    sample.item = item;
    AddActivation(own, sample);
  }
  return sample;
}

}  // namespace

SyntheticJob MakeJob(const std::string& task, const std::vector<std::string>& methods, int seeds, int epochs,
                     int sample_images) {
  SyntheticJob job;
  job.info = {task, "a/directory/of/IDX/files", "dropkit train --task " + task, 3000, 3000, 2, {}, "", {73, 73, 73}};
  job.info.erased =
      std::string("a KxK square of the ") + (task == "scenes" ? "item" : "image") + " set to the mean grey";
  for (const std::string& method : methods) job.info.command += " --methods " + method;
  for (int seed = 0; seed < seeds; ++seed) {
    for (size_t place = 0; place < methods.size(); ++place)
      job.results.push_back(MakeRun(job, methods[place], place, static_cast<uint64_t>(seed), epochs));
  }
  for (size_t place = 0; sample_images > 0 && place < methods.size(); ++place) {
    RunSamples run{methods[place], 0, {}};
    for (int i = 0; i < sample_images; ++i) run.images.push_back(MakeSample(task, methods[place], place, i));
    job.samples.push_back(std::move(run));
  }
  return job;
}

}  // namespace dropkit::cli
