# The CUDA backend, by DROPKIT_CUDA: its objects, or a line that says why there are none and an object that says so too.
#
# Sets dropkit_cuda_binaries, which the libraries of the core take in: kernels for DROPKIT_CUDA_ARCHITECTURES, and the
# CUDA runtime. nvcc runs by rules of our own, not as CMake's language CUDA: with that, whoever links the static library would
# have to find the runtime of the same toolkit. So the runtime is in the library, its names are the library's own, and
# who uses dropkit, installed or along, needs no CUDA, and may have one of its own.
#
# In: DROPKIT_CUDA, CMAKE_CUDA_COMPILER, CMAKE_CUDA_ARCHITECTURES, as CMake itself reads the latter two.
set(cuda_off "")
set(dropkit_cuda_binaries "")

# What nvcc and the C++ compiler make of the smallest kernel; remembered for the same of both.
function(dropkit_try_nvcc result)
  set(tried "${CMAKE_CUDA_COMPILER} ${nvcc_release} ${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_VERSION} ${nvcc_options}")
  if(NOT DROPKIT_NVCC_TRIED STREQUAL tried)
    set(folder ${PROJECT_BINARY_DIR}/generated/nvcc)
    file(WRITE ${folder}/trial.cu "#include <cuda_runtime.h>\n#include <string>\n__global__ void Kernel() {}\n")
    execute_process(COMMAND ${CMAKE_CUDA_COMPILER} ${nvcc_options} -c trial.cu -o trial.o WORKING_DIRECTORY ${folder}
                    RESULT_VARIABLE failed OUTPUT_VARIABLE said ERROR_VARIABLE said)
    if(failed)
      string(REGEX REPLACE "\n.*" "" said "${said}")
      set(${result} "${CMAKE_CUDA_COMPILER} compiles nothing here: ${said}" PARENT_SCOPE)
      return()
    endif()
    set(DROPKIT_NVCC_TRIED "${tried}" CACHE INTERNAL "What nvcc compiled with success")
  endif()
  set(${result} "" PARENT_SCOPE)
endfunction()

# CMAKE_CUDA_ARCHITECTURES as options of nvcc: 90 is machine code and PTX, 90-real machine code, 90-virtual PTX. A
# project that adds this folder may have one of CMake's words for all of its own.
function(dropkit_nvcc_architectures result)
  set(options "")
  if(CMAKE_CUDA_ARCHITECTURES MATCHES "^(all|all-major|native)$")
    set(${result} -arch=${CMAKE_CUDA_ARCHITECTURES} PARENT_SCOPE)
    return()
  endif()
  foreach(architecture ${CMAKE_CUDA_ARCHITECTURES})
    if(NOT architecture MATCHES "^([0-9]+[af]?)(-real|-virtual)?$")
      message(FATAL_ERROR "CMAKE_CUDA_ARCHITECTURES=${CMAKE_CUDA_ARCHITECTURES}: '${architecture}'; allowed: NUMBER, "
                          "NUMBER-real and NUMBER-virtual, such as 90-real, or one of all, all-major, native")
    endif()
    set(number ${CMAKE_MATCH_1})
    if(NOT CMAKE_MATCH_2 STREQUAL "-virtual")
      list(APPEND options --generate-code=arch=compute_${number},code=sm_${number})
    endif()
    if(NOT CMAKE_MATCH_2 STREQUAL "-real")
      list(APPEND options --generate-code=arch=compute_${number},code=compute_${number})
    endif()
  endforeach()
  set(${result} "${options}" PARENT_SCOPE)
endfunction()

# The runtime's objects, out of its archive, and the names that they define for all (but for weak ones, which objects share).
# A file with the path of what was unpacked saves doing it again.
function(dropkit_unpack_cudart result_objects result_names)
  set(folder ${PROJECT_BINARY_DIR}/generated/cudart)
  set(names ${folder}/names.txt)
  file(TIMESTAMP ${CUDART_STATIC} changed)
  set(stamp "${CUDART_STATIC} ${changed}")
  if(EXISTS ${folder}/stamp)
    file(READ ${folder}/stamp unpacked)
  endif()
  if(NOT "${unpacked}" STREQUAL stamp OR NOT EXISTS ${names})
    file(REMOVE_RECURSE ${folder})
    file(MAKE_DIRECTORY ${folder})
    execute_process(COMMAND ${CMAKE_AR} x ${CUDART_STATIC} WORKING_DIRECTORY ${folder} COMMAND_ERROR_IS_FATAL ANY)
    file(GLOB objects ${folder}/*.o)
    execute_process(COMMAND ${CMAKE_NM} -g --defined-only -P ${objects} OUTPUT_VARIABLE defined COMMAND_ERROR_IS_FATAL ANY)
    string(REGEX MATCHALL "[^ \n]+ [A-UX-Z] " strong "${defined}")
    list(TRANSFORM strong REPLACE " . $" "")
    list(JOIN strong "\n" strong)
    file(WRITE ${names} "${strong}\n")
    file(WRITE ${folder}/stamp "${stamp}")
  endif()
  file(GLOB objects ${folder}/*.o)
  set(${result_objects} ${objects} PARENT_SCOPE)
  set(${result_names} ${names} PARENT_SCOPE)
endfunction()

# Kernels and runtime as one object that keeps the runtime's names to itself: who links the static library may have another
# CUDA runtime, and would be given this one, or two of each name.
function(dropkit_enclose_cudart result)
  dropkit_unpack_cudart(cudart_objects names)
  set(object ${PROJECT_BINARY_DIR}/generated/nvcc/cuda.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_LINKER} -r -o ${object} ${ARGN} ${cudart_objects}
    COMMAND ${CMAKE_OBJCOPY} --localize-symbols=${names} ${object}
    DEPENDS ${ARGN} ${cudart_objects} ${names} COMMENT "Enclosing the CUDA runtime" VERBATIM)
  set(${result} ${object} PARENT_SCOPE)
endfunction()

function(dropkit_add_kernels result)
  set(objects "")
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cuda/*.cu)
  foreach(kernel ${kernels})
    get_filename_component(name ${kernel} NAME)
    set(object ${PROJECT_BINARY_DIR}/generated/nvcc/${name}.o)
    add_custom_command(OUTPUT ${object}
      COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${CMAKE_CUDA_COMPILER} ${nvcc_options} -I${PROJECT_SOURCE_DIR}/src
              -I${PROJECT_SOURCE_DIR}/include -MD -MF ${object}.d -MT ${object} -c ${kernel} -o ${object}
      DEPENDS ${kernel} DEPFILE ${object}.d COMMENT "Building CUDA object ${name}.o" VERBATIM)
    list(APPEND objects ${object})
  endforeach()
  set(${result} ${objects} PARENT_SCOPE)
endfunction()

# ---- may it be, and is there what it takes
if(DROPKIT_SANITIZE)
  set(cuda_off "a sanitizer build runs the kernels on the host alone")
elseif(CMAKE_CROSSCOMPILING)
  set(cuda_off "a build for another machine")
elseif(NOT DROPKIT_CUDA)
  set(cuda_off "DROPKIT_CUDA=${DROPKIT_CUDA}")
else()
  find_program(CMAKE_CUDA_COMPILER nvcc HINTS ENV CUDACXX ENV CUDA_PATH ENV CUDA_HOME PATH_SUFFIXES bin
               PATHS /usr/local/cuda/bin DOC "nvcc")
  if(NOT CMAKE_CUDA_COMPILER)
    set(cuda_off "no nvcc found in PATH or /usr/local/cuda/bin; set CMAKE_CUDA_COMPILER")
  endif()
endif()
if(NOT cuda_off)
  file(REAL_PATH ${CMAKE_CUDA_COMPILER} real_nvcc)
  get_filename_component(cuda_folder ${real_nvcc} DIRECTORY)
  get_filename_component(cuda_folder ${cuda_folder} DIRECTORY)
  find_library(CUDART_STATIC libcudart_static.a HINTS ${cuda_folder}
               PATH_SUFFIXES lib64 lib targets/${CMAKE_SYSTEM_PROCESSOR}-linux/lib DOC "The CUDA runtime as an archive")
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE nvcc_release ERROR_QUIET)
  execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --list-gpu-arch OUTPUT_VARIABLE known ERROR_QUIET)
  string(REGEX REPLACE ".*, V([0-9.]+).*" "\\1" nvcc_release "${nvcc_release}")
  if(NOT CUDART_STATIC)
    set(cuda_off "no libcudart_static.a beside ${CMAKE_CUDA_COMPILER}")
  elseif(nvcc_release STREQUAL "" OR nvcc_release VERSION_LESS 12)
    set(cuda_off "${CMAKE_CUDA_COMPILER} is release '${nvcc_release}'; 12.0 or later is needed")
  endif()
endif()

# ---- how
if(NOT cuda_off)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    # Of these what nvcc knows; the last as PTX too, for cards that are not made yet.
    set(CMAKE_CUDA_ARCHITECTURES "")
    foreach(number 75 80 90 100 120)
      if(known MATCHES "compute_${number}\n")
        list(APPEND CMAKE_CUDA_ARCHITECTURES ${number}-real)
      endif()
    endforeach()
    string(REGEX REPLACE "-real$" "" CMAKE_CUDA_ARCHITECTURES "${CMAKE_CUDA_ARCHITECTURES}")
  endif()
  dropkit_nvcc_architectures(nvcc_options)
  # Contraction off, as everywhere: the draw's tables in f64 must equal the host's.
  list(APPEND nvcc_options -std=c++20 -O3 -fmad=false --expt-relaxed-constexpr -ccbin=${CMAKE_CXX_COMPILER}
       -Xcompiler=-Wall,-Wextra,-fPIC,-ffp-contract=off,-fvisibility=hidden,-fvisibility-inlines-hidden)
  if(NOT nvcc_release VERSION_LESS 13)
    list(APPEND nvcc_options --compress-mode=size)
  endif()
  dropkit_try_nvcc(cuda_off)
endif()

if(NOT cuda_off)
  message(STATUS "CUDA: nvcc ${nvcc_release}, for ${CMAKE_CUDA_ARCHITECTURES}")
  add_library(dropkit_cuda_objects OBJECT src/cuda/backend.cc)
  dropkit_add_kernels(cuda_kernels)
  dropkit_enclose_cudart(dropkit_cuda_binaries ${cuda_kernels})
  set_source_files_properties(${dropkit_cuda_binaries} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_custom_target(dropkit_cuda_kernels DEPENDS ${dropkit_cuda_binaries})  # once, although two libraries take them in
elseif(DROPKIT_CUDA STREQUAL "ON" AND NOT DROPKIT_SANITIZE)
  message(FATAL_ERROR "DROPKIT_CUDA=ON, but ${cuda_off}")
else()
  message(STATUS "CUDA: off (${cuda_off})")
  add_library(dropkit_cuda_objects OBJECT src/cuda/off.cc)
endif()
