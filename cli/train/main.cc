// The program `dropkit-train`, which `dropkit train` becomes: it answers to that name.
#include "cli/program.h"

int main(int argc, char** argv) { return dropkit::cli::RunProgram(argc, argv, {dropkit::cli::AddTrain}); }
