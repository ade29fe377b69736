# What `make gpu-bundle` takes to a GPU machine, as the installation component `gpu`: dropkit-gpu, cuda_test, the operators
# for torch, the Python package and the scripts that run all of it. bench/gpu_bundle.py configures this build.
#
# Such a machine has the driver, the C library, Python and torch. So the core and the CUDA runtime are linked in, libstdc++
# too where torch does not bring it, and no file names a folder of this machine.
if(NOT dropkit_cuda_binaries OR NOT TARGET dropkit_torch)
  message(FATAL_ERROR "DROPKIT_GPU_BUNDLE=ON needs nvcc and LibTorch; CUDA and LibTorch above say what is missing")
endif()
include(${CMAKE_CURRENT_LIST_DIR}/device_parts.cmake)
find_package(GTest REQUIRED)

set_target_properties(torchlib PROPERTIES INTERFACE_LINK_OPTIONS "")
add_library(dropkit_on_gpu INTERFACE)
target_link_libraries(dropkit_on_gpu INTERFACE ${device_libraries} dropkit CLI11::CLI11 nlohmann_json::nlohmann_json)
target_include_directories(dropkit_on_gpu INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
# Of libstdc++ what nobody calls asks for a later C library.
target_link_options(dropkit_on_gpu INTERFACE -static-libstdc++ -static-libgcc -Wl,--gc-sections)
set(gpu_objects $<TARGET_OBJECTS:dropkit_device_parts> $<TARGET_OBJECTS:dropkit_device>)

add_executable(dropkit_gpu cli/gpu/main.cc ${gpu_objects})
set_target_properties(dropkit_gpu PROPERTIES OUTPUT_NAME dropkit-gpu)
# Reads tests/golden/ of the folder that it is started in.
add_executable(gpu_cuda_test tests/cuda_test.cc ${gpu_objects})
set_target_properties(gpu_cuda_test PROPERTIES OUTPUT_NAME cuda_test)
target_compile_definitions(gpu_cuda_test PRIVATE DROPKIT_SOURCE_DIR=".")
target_link_libraries(gpu_cuda_test PRIVATE GTest::gtest GTest::gtest_main)
foreach(program dropkit_gpu gpu_cuda_test)
  target_link_libraries(${program} PRIVATE dropkit_on_gpu)
endforeach()
add_custom_target(gpu_bundle DEPENDS dropkit_gpu gpu_cuda_test dropkit_torch)

install(TARGETS dropkit_gpu gpu_cuda_test RUNTIME DESTINATION . COMPONENT gpu)
install(TARGETS dropkit_torch LIBRARY DESTINATION python/dropkit/torch COMPONENT gpu)
# The package asks for its own version as an installed one does.
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/generated/METADATA @ONLY
     CONTENT "Metadata-Version: 2.1\nName: dropkit\nVersion: @PROJECT_VERSION@\n")
install(FILES ${PROJECT_BINARY_DIR}/generated/METADATA COMPONENT gpu
        DESTINATION python/dropkit-${PROJECT_VERSION}.dist-info)
install(DIRECTORY python/dropkit DESTINATION python COMPONENT gpu PATTERN __pycache__ EXCLUDE)
install(FILES bench/gpu_check.py bench/gpu_step.py bench/gpu_peers.py bench/gpu_cases.txt DESTINATION . COMPONENT gpu)
install(FILES tests/golden/masks.txt DESTINATION tests/golden COMPONENT gpu)
install(FILES tests/test_torch_cuda.py DESTINATION tests COMPONENT gpu)
