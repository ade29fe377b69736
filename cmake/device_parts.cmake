# `check` and `bench` with what they stand on: parts of the program `dropkit`, all of `dropkit-gpu` (gpu.cmake), and of tests
# that run them on an emulated grid. They link whichever library of the core they are given.
#
# DROPKIT_COMMIT reaches them through a header that cmake/commit.cmake rewrites at build time when the commit changed: a
# definition made at configure time would go stale with the next commit.
include_guard()
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)

set(commit_header ${PROJECT_BINARY_DIR}/generated/built_commit.h)
add_custom_target(dropkit_commit ALL
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${commit_header}
          -P ${PROJECT_SOURCE_DIR}/cmake/commit.cmake
  BYPRODUCTS ${commit_header} COMMENT "" VERBATIM)

file(GLOB device_parts_sources CONFIGURE_DEPENDS cli/check/*.cc cli/bench/*.cc)
foreach(name commit file memory number program shape device/host)
  list(APPEND device_parts_sources ${PROJECT_SOURCE_DIR}/cli/${name}.cc)
endforeach()
add_library(dropkit_device_parts OBJECT ${device_parts_sources})
target_include_directories(dropkit_device_parts PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include
                           PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_BINARY_DIR}/generated)
target_compile_features(dropkit_device_parts PUBLIC cxx_std_20)
target_link_libraries(dropkit_device_parts PUBLIC CLI11::CLI11 nlohmann_json::nlohmann_json)
add_dependencies(dropkit_device_parts dropkit_commit)

set(device_libraries "")
# The device of the backend cuda. It has a CUDA runtime of its own, as every user of the library would.
add_library(dropkit_device OBJECT cli/device/$<IF:$<BOOL:${dropkit_cuda_binaries}>,cuda,off>.cc)
target_include_directories(dropkit_device PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/include)
if(dropkit_cuda_binaries)
  target_include_directories(dropkit_device SYSTEM PRIVATE ${cuda_folder}/include)
  set(device_libraries ${CUDART_STATIC})  # of who takes these objects in
endif()
target_compile_features(dropkit_device PRIVATE cxx_std_20)
