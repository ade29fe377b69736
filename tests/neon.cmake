# The tests of NEON's kernels on a machine without them: preset `neon` builds them for aarch64, and their entries,
# neon.<test>, run under qemu.
#
# The preset's build includes this for the entries; the native one builds the preset and takes its entries in, or says
# what it lacks. On aarch64 all tests are NEON's anyway. qemu orders memory as this machine does, so what threads do to
# each other is not tested by it.
set(NEON_TESTS apply_test bits_test draw_test family_test golden_test kernels_test layout_test reference_test)

if(CMAKE_CROSSCOMPILING)
  foreach(name ${NEON_TESTS})
    add_test(NAME neon.${name} COMMAND ${name})
    set_tests_properties(neon.${name} PROPERTIES TIMEOUT 600 ENVIRONMENT DROPKIT_ISA=neon)
  endforeach()
  foreach(name ${ISA_TESTS})
    add_test(NAME neon.portable.${name} COMMAND ${name})
    set_tests_properties(neon.portable.${name} PROPERTIES TIMEOUT 600 ENVIRONMENT DROPKIT_ISA=portable)
  endforeach()
  return()
endif()
if(DROPKIT_SANITIZE OR CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64)$")
  return()
endif()

find_program(NEON_COMPILER aarch64-linux-gnu-g++)
find_program(NEON_EMULATOR qemu-aarch64)
set(no_neon "")
if(NOT NEON_COMPILER)
  set(no_neon "no aarch64-linux-gnu-g++ found; Debian: g++-aarch64-linux-gnu")
elseif(NOT NEON_EMULATOR)
  set(no_neon "no qemu-aarch64 found; Debian: qemu-user")
elseif(NOT EXISTS ${GTEST_SOURCES}/CMakeLists.txt)
  set(no_neon "no ${GTEST_SOURCES}; Debian: googletest")
endif()
if(no_neon)
  list(TRANSFORM ISA_TESTS PREPEND portable. OUTPUT_VARIABLE portable_tests)
  foreach(name ${NEON_TESTS} ${portable_tests})
    add_skipped_test(neon.${name} "${no_neon}")
  endforeach()
  return()
endif()

include(ExternalProject)
set(neon_folder ${PROJECT_BINARY_DIR}/neon)
ExternalProject_Add(neon
  PREFIX ${neon_folder}/steps
  SOURCE_DIR ${PROJECT_SOURCE_DIR}
  BINARY_DIR ${neon_folder}
  CMAKE_ARGS --preset neon -B ${neon_folder}
  INSTALL_COMMAND "" BUILD_ALWAYS ON USES_TERMINAL_BUILD ON)
ExternalProject_Add_StepDependencies(neon configure ${PROJECT_SOURCE_DIR}/CMakePresets.json)

file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/neon_entries.cmake CONTENT [[
if(EXISTS "@neon_folder@/CTestTestfile.cmake")
  subdirs("@neon_folder@")
else()
  add_test(neon_NOT_BUILT neon_NOT_BUILT)
endif()
]] @ONLY)
set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES ${CMAKE_CURRENT_BINARY_DIR}/neon_entries.cmake)
