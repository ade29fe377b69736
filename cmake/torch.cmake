# LibTorch for this build, by DROPKIT_TORCH: the target `torchlib`, or a line that says why there is none.
#
# Where it is looked for is in locate_torch.cmake. TORCH_DIR is empty when it is off.
include(${CMAKE_CURRENT_LIST_DIR}/locate_torch.cmake)

set(torch_off "")
if(DROPKIT_SANITIZE)
  set(torch_off "a sanitizer build is torch-free")
elseif(NOT DROPKIT_TORCH)
  set(torch_off "DROPKIT_TORCH=${DROPKIT_TORCH}")
else()
  dropkit_locate_torch()
  set(torch_off "${torch_missing}")
endif()

if(NOT torch_off)
  message(STATUS "LibTorch: ${TORCH_VERSION}, ${TORCH_DIR}")
  dropkit_add_torch(torchlib)
elseif(DROPKIT_TORCH STREQUAL "ON" AND NOT DROPKIT_SANITIZE)
  message(FATAL_ERROR "DROPKIT_TORCH=ON, but ${torch_off}")
else()
  set(TORCH_DIR "")
  message(STATUS "LibTorch: off (${torch_off})")
endif()
