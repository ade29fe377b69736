# What the wheel of the Python package has beside python/: the operators, in dropkit/torch/.
#
# pyproject.toml sets DROPKIT_WHEEL and builds dropkit_torch alone. The wheel runs on other machines than this one, so the
# library names no folder of this one: torch is imported before it is loaded, and has LibTorch in the process by then.
find_path(HIGHWAY_INCLUDE_DIR hwy/highway.h)
if(NOT HIGHWAY_INCLUDE_DIR)
  message(FATAL_ERROR "The headers of Highway (hwy/highway.h) are missing; Debian: apt-get install libhwy-dev")
endif()
target_include_directories(dropkit_objects PRIVATE ${HIGHWAY_INCLUDE_DIR})

set_target_properties(torchlib PROPERTIES INTERFACE_LINK_OPTIONS "")
# Nor do its messages: they name files as __FILE__ does, which GCC gives with links resolved in LibTorch's headers.
file(REAL_PATH ${TORCH_DIR} real_torch_dir)
target_compile_options(dropkit_torch PRIVATE -fmacro-prefix-map=${PROJECT_SOURCE_DIR}/=
  -fmacro-prefix-map=${TORCH_DIR}/=torch/ -fmacro-prefix-map=${real_torch_dir}/=torch/)
install(TARGETS dropkit_torch LIBRARY DESTINATION dropkit/torch COMPONENT wheel)
