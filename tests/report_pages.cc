// report_pages DIR: writes the pages of synthetic jobs that test_report.py opens in a browser, each in a folder of its
// own below DIR, and prints a line for each: its name, methods, seeds, images a method, maps and boxes aside.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>

#include "synthetic_job.h"

namespace {

using dropkit::cli::MakeJob;
using dropkit::cli::SyntheticJob;

const std::vector<std::string> kFamily = {"none",
                                          "dropout@0.1",
                                          "spatial_dropout@0.1",
                                          "drop_path@0.2",
                                          "dropblock:block=7@0.1",
                                          "cutout:size=20,region=valid@1",
                                          "drop_connect@0.5",
                                          "none-10"};

std::vector<std::string> Twelve() {
  std::vector<std::string> methods = kFamily;
  methods.insert(methods.end(),
                 {"dropblock:block=3x5,rate=calibrated,normalize=expected,over=sample,share=channels@0.1",
                  "dropblock:block=5,rate=plain,region=whole,anchor=before,clip=square,fill=noise@0.25",
                  "dropout:share=batch@0.3", "cutout:size=8,holes=4@1"});
  return methods;
}

void Write(const std::string& directory, const std::string& name, const SyntheticJob& job) {
  const std::string folder = directory + "/" + name;
  std::filesystem::create_directories(folder);
  dropkit::cli::WriteReport(folder, job.info, job.results, job.samples);
}

// Every accuracy as close to `centre` as `scale` makes it: the wider the numbers beside an axis, the less is left for
// its name.
SyntheticJob Around(double centre, double scale, SyntheticJob job) {
  for (dropkit::cli::RunResult& run : job.results) {
    for (dropkit::cli::EpochPoint& point : run.curve) {
      for (double* value : {&point.train, &point.clean}) *value = std::min(100., centre + scale * (*value - 60));
    }
    run.train = run.curve.back().train;
    run.clean = run.curve.back().clean;
  }
  return job;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) {
    std::fprintf(stderr, "report_pages: one directory is wanted, %d arguments were given\n", count - 1);
    return 2;
  }
  try {
    const std::string directory = arguments[1];
    Write(directory, "family", MakeJob("scenes", kFamily, 3, 20, 3));
    Write(directory, "twelve", MakeJob("fashion", Twelve(), 5, 30, 1));
    Write(directory, "two", MakeJob("scenes", {"none", "dropblock:block=7@0.1"}, 3, 20, 2));
    Write(directory, "single", MakeJob("fashion", {"none"}, 1, 1, 1));
    SyntheticJob failed = MakeJob("fashion", {}, 0, 0, 0);
    failed.info.complaints = {"dropout@1 seed 0: the loss is nan in epoch 1"};
    Write(directory, "failed", failed);
    Write(directory, "near_100", Around(99.9, 0.02, MakeJob("fashion", kFamily, 2, 6, 0)));
    Write(directory, "fractions", Around(10.6, 0.01, MakeJob("scenes", {"none", "dropblock:block=7@0.1"}, 1, 2, 1)));
    Write(directory, "all_right", Around(100, 0, MakeJob("fashion", {"none", "dropout@0.1"}, 2, 3, 0)));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "report_pages: %s\n", error.what());
    return 1;
  }
}
