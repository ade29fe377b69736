# What `cmake --install` puts where, and what find_package(dropkit) and pkg-config need to find it.
#
# Nothing installed names a path of its own, so an installation may be moved; only LibTorch's folder is written down, in
# libdropkit_torch.so and dropkit-train, which cannot run without it. Components: program, library (shared),
# development, training and nn (both with LibTorch), licence. `debian` is the licence once more, where Debian wants it;
# the package alone has it (package.cmake).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/dropkit)
set(config_build ${PROJECT_BINARY_DIR}/generated/cmake)

# ---- the core
foreach(library static=dropkit shared=dropkit_shared)
  string(REGEX MATCH "(.*)=(.*)" library ${library})
  set_target_properties(${CMAKE_MATCH_2} PROPERTIES EXPORT_NAME ${CMAKE_MATCH_1})
  target_include_directories(${CMAKE_MATCH_2} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
install(TARGETS dropkit dropkit_shared EXPORT dropkit_core
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT development
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library NAMELINK_COMPONENT development)
install(EXPORT dropkit_core NAMESPACE dropkit:: FILE dropkitCore.cmake DESTINATION ${config_folder}
  COMPONENT development)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/dropkit DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT development
  FILES_MATCHING PATTERN "*.h" PATTERN nn.h EXCLUDE)

# ---- find_package and pkg-config
set(torch_series "")
if(TARGET dropkit_nn)
  string(REGEX MATCH "^[0-9]+\\.[0-9]+" torch_series ${TORCH_VERSION})
endif()
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/dropkitConfig.cmake.in ${config_build}/dropkitConfig.cmake
  INSTALL_DESTINATION ${config_folder} NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${config_build}/dropkitConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${config_build}/dropkitConfig.cmake ${config_build}/dropkitConfigVersion.cmake
  DESTINATION ${config_folder} COMPONENT development)

file(RELATIVE_PATH prefix_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" prefix_from_pc ${prefix_from_pc})
foreach(folder LIBDIR INCLUDEDIR)
  string(TOLOWER pc_${folder} pc_folder)
  set(${pc_folder} "\${prefix}")
  cmake_path(APPEND ${pc_folder} ${CMAKE_INSTALL_${folder}})  # an absolute one replaces the prefix
endforeach()
set(pc_cuda_libraries "")
if(dropkit_cuda_binaries)
  set(pc_cuda_libraries " -ldl -lrt")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/dropkit.pc.in ${config_build}/dropkit.pc @ONLY)
install(FILES ${config_build}/dropkit.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

# ---- what people read
install(FILES ${PROJECT_SOURCE_DIR}/docs/draws.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT development)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT licence)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright
  COMPONENT debian EXCLUDE_FROM_ALL)

# ---- the programs
if(TARGET dropkit_cli)
  install(TARGETS dropkit_cli DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
endif()
if(TARGET dropkit_train)
  # cli/main.cc looks for it at this place.
  install(TARGETS dropkit_train DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/dropkit COMPONENT training)
  file(RELATIVE_PATH libraries_from_train /${CMAKE_INSTALL_LIBEXECDIR}/dropkit /${CMAKE_INSTALL_LIBDIR})
  set_target_properties(dropkit_train PROPERTIES INSTALL_RPATH "$ORIGIN/${libraries_from_train}")
endif()

# ---- LibTorch
if(TARGET dropkit_nn)
  install(TARGETS dropkit_torch dropkit_nn EXPORT dropkit_nn DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT nn)
  install(EXPORT dropkit_nn NAMESPACE dropkit:: FILE dropkitNn.cmake DESTINATION ${config_folder} COMPONENT nn)
  install(FILES ${PROJECT_SOURCE_DIR}/cmake/locate_torch.cmake DESTINATION ${config_folder} COMPONENT nn)
  install(FILES ${PROJECT_SOURCE_DIR}/include/dropkit/nn.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/dropkit COMPONENT nn)
endif()
