#!/usr/bin/env bash
# Fuzzes for FUZZ_MINUTES in all, divided among the fuzzers: run.sh FOLDER, the folder where they were built.
#
# What is found stays in FOLDER/found/<name> and is where the next run goes on; the kept corpus is read and not written.
# An input that ends a run is left in FOLDER as <name>-crash-*: with the fix, it goes into corpus/<name>.
set -euo pipefail
folder=${1:?"usage: run.sh FOLDER"}
here=$(cd "$(dirname "$0")" && pwd)
fuzzers=("$folder"/*_fuzz)
[ -x "${fuzzers[0]}" ] || { echo "fuzz: no fuzzers in $folder; building them needs clang++" >&2; exit 1; }
seconds=$((${FUZZ_MINUTES:-10} * 60 / ${#fuzzers[@]}))
for fuzzer in "${fuzzers[@]}"; do
  name=$(basename "$fuzzer" _fuzz)
  mkdir -p "$folder/found/$name"
  echo "fuzz: $name, $seconds s"
  "$fuzzer" -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
    -artifact_prefix="$folder/$name-" "$folder/found/$name" "$here/corpus/$name"
done
