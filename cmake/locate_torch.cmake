# Functions that locate LibTorch and make a target of it. Used by this build (torch.cmake) and by what it installs
# (dropkitConfig.cmake), so both find it by the same rule.
#
# find_package(Torch) is not used: it insists on a CUDA toolkit whenever the package was built with CUDA, and then fails
# to link against an older NCCL. torch is located, not imported, so this takes no time.

# Sets in the caller's scope: TORCH_DIR, TORCH_VERSION, or else torch_missing, which says why they are empty.
# A TORCH_DIR that is set already, to the folder that has LibTorch's include/ and lib/, is the only one looked at; else it
# is the torch package of Python3_EXECUTABLE, by default the first Python 3 found.
function(dropkit_locate_torch)
  set(folder "${TORCH_DIR}")
  set(version "")
  set(missing "")
  if(NOT folder AND NOT Python3_EXECUTABLE)
    find_package(Python3 QUIET COMPONENTS Interpreter)
  endif()
  if(NOT folder AND NOT Python3_EXECUTABLE)
    set(missing "no Python 3 found to look for torch in; set Python3_EXECUTABLE or TORCH_DIR")
  elseif(NOT folder)
    execute_process(
      COMMAND ${Python3_EXECUTABLE} -c
              "import importlib.util as u,os;s=u.find_spec('torch');print(os.path.dirname(s.origin) if s else '')"
      OUTPUT_VARIABLE folder RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(failed)
      set(missing "Python3_EXECUTABLE=${Python3_EXECUTABLE} does not run")
    elseif(NOT folder)
      set(missing "${Python3_EXECUTABLE} has no torch; set Python3_EXECUTABLE or TORCH_DIR")
    endif()
  endif()
  if(NOT missing)
    dropkit_read_torch_version("${folder}" version)
    if(NOT version OR NOT EXISTS "${folder}/lib/libtorch_cpu.so")
      set(missing "TORCH_DIR=${folder} has no include/torch/version.h or lib/libtorch_cpu.so; the folder of LibTorch has both")
    elseif(version VERSION_LESS 2.10)
      set(missing "${folder} is LibTorch ${version}; 2.10 or later is needed")
    endif()
  endif()
  if(missing)
    set(folder "")
    set(version "")
  endif()
  set(TORCH_DIR "${folder}" PARENT_SCOPE)
  set(TORCH_VERSION "${version}" PARENT_SCOPE)
  set(torch_missing "${missing}" PARENT_SCOPE)
endfunction()

# "2.15.0", or nothing when there is no LibTorch in `folder`.
function(dropkit_read_torch_version folder result)
  set(parts "")
  foreach(header torch/headeronly/version.h torch/version.h)
    if(NOT parts AND EXISTS "${folder}/include/${header}")
      file(STRINGS "${folder}/include/${header}" parts REGEX "^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
    endif()
  endforeach()
  list(TRANSFORM parts REPLACE "[^0-9]" "")
  list(JOIN parts "." version)
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

# Makes `target`, LibTorch of TORCH_DIR. Programs find its libraries at that path when they run.
function(dropkit_add_torch target)
  add_library(${target} INTERFACE ${ARGN})
  target_include_directories(${target} SYSTEM INTERFACE ${TORCH_DIR}/include
                                                        ${TORCH_DIR}/include/torch/csrc/api/include)
  target_link_directories(${target} INTERFACE ${TORCH_DIR}/lib)
  # torch registers its kernels from static initialisers, so the linker must keep the library although nothing names it.
  # One item, so that CMake cannot sort the libraries away from their flags, nor the flags reach other libraries.
  target_link_libraries(${target} INTERFACE -Wl,--push-state,--no-as-needed,-ltorch_cpu,-lc10,--pop-state)
  target_link_options(${target} INTERFACE -Wl,-rpath,${TORCH_DIR}/lib)
endfunction()
