# Builds the fuzzers of fuzz/ and makes a test fuzz_<name> of each: the kept corpus, then new inputs from a fixed seed.
#
# The long run, which keeps what it finds in the build folder, is `make fuzz`.
set(FUZZERS spec idx cifar checkpoint)

find_program(FUZZ_COMPILER NAMES clang++ clang++-14)
set(no_fuzzing "")
if(NOT FUZZ_COMPILER)
  set(no_fuzzing "no clang++ found")
elseif(NOT TARGET ZLIB::ZLIB)
  set(no_fuzzing "the program is not built")
else()
  file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/fuzz_trial.cc "extern \"C\" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }\n")
  execute_process(COMMAND ${FUZZ_COMPILER} -fsanitize=fuzzer,address,undefined fuzz_trial.cc -o fuzz_trial
                  WORKING_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR} RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  if(failed)
    set(no_fuzzing "${FUZZ_COMPILER} has no libFuzzer; Debian: libclang-rt-14-dev")
  endif()
endif()
if(no_fuzzing)
  foreach(name ${FUZZERS})
    add_skipped_test(fuzz_${name} "${no_fuzzing}")
  endforeach()
  return()
endif()

include(ExternalProject)
set(fuzz_folder ${PROJECT_BINARY_DIR}/fuzz)
string(REPLACE ";" "|" fuzzers_as_text "${FUZZERS}")
ExternalProject_Add(fuzzers
  SOURCE_DIR ${CMAKE_CURRENT_SOURCE_DIR}/fuzz
  BINARY_DIR ${fuzz_folder}
  LIST_SEPARATOR |
  CMAKE_ARGS -DCMAKE_CXX_COMPILER=${FUZZ_COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER}
             -DFUZZERS=${fuzzers_as_text}
  INSTALL_COMMAND "" BUILD_ALWAYS ON USES_TERMINAL_BUILD ON)

foreach(name ${FUZZERS})
  set(corpus ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name})
  file(GLOB inputs CONFIGURE_DEPENDS ${corpus}/*)
  list(JOIN inputs "," inputs)
  # A seed and a bound on runs make it repeatable; the bound on time only matters on a slow machine.
  add_test(NAME fuzz_${name} COMMAND ${fuzz_folder}/${name}_fuzz -seed=20181030 -runs=40000 -max_total_time=10
           -max_len=4096 -timeout=20 -rss_limit_mb=2048 -artifact_prefix=${fuzz_folder}/${name}- -seed_inputs=${inputs})
  set_tests_properties(fuzz_${name} PROPERTIES TIMEOUT 300)
endforeach()
