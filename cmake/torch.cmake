# Finds LibTorch in the torch package of Python3_EXECUTABLE: sets TORCH_DIR (empty when off) and the target `torchlib`.
#
# find_package(Torch) is not used: it insists on a CUDA toolkit whenever the package was built with CUDA, and then fails
# to link against an older NCCL. torch is located, not imported, so this takes no time.
set(TORCH_DIR "")
set(torch_off "")
if(DROPKIT_SANITIZE)
  set(torch_off "a sanitizer build is torch-free")
elseif(NOT DROPKIT_TORCH)
  set(torch_off "DROPKIT_TORCH=${DROPKIT_TORCH}")
elseif(NOT Python3_EXECUTABLE)
  set(torch_off "no Python 3 found")
else()
  execute_process(
    COMMAND ${Python3_EXECUTABLE} -c
            "import importlib.util as u,os;s=u.find_spec('torch');print(os.path.dirname(s.origin) if s else '')"
    OUTPUT_VARIABLE TORCH_DIR OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(NOT TORCH_DIR)
    set(torch_off "${Python3_EXECUTABLE} has no torch")
  elseif(NOT EXISTS ${TORCH_DIR}/include/torch/csrc/stable)
    set(torch_off "${TORCH_DIR} has no stable C++ interface; 2.10 or later is needed")
    set(TORCH_DIR "")
  endif()
endif()

if(NOT torch_off)
  message(STATUS "LibTorch: ${TORCH_DIR}")
  add_library(torchlib INTERFACE)
  target_include_directories(torchlib SYSTEM INTERFACE ${TORCH_DIR}/include ${TORCH_DIR}/include/torch/csrc/api/include)
  target_link_directories(torchlib INTERFACE ${TORCH_DIR}/lib)
  # torch registers its kernels from static initialisers, so the linker must keep the library although nothing names it.
  # One item, so that CMake cannot sort the libraries away from their flags, nor the flags reach other libraries.
  target_link_libraries(torchlib INTERFACE -Wl,--push-state,--no-as-needed,-ltorch_cpu,-lc10,--pop-state)
  target_link_options(torchlib INTERFACE -Wl,-rpath,${TORCH_DIR}/lib)
elseif(DROPKIT_TORCH STREQUAL "ON" AND NOT DROPKIT_SANITIZE)
  message(FATAL_ERROR "DROPKIT_TORCH=ON, but ${torch_off}")
else()
  message(STATUS "LibTorch: off (${torch_off})")
endif()
