# The programs `dropkit` (target dropkit_cli) and, with LibTorch, `dropkit-train`, which `dropkit train` becomes.
find_package(PNG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(CAIRO REQUIRED IMPORTED_TARGET cairo)
include(${CMAKE_CURRENT_LIST_DIR}/device_parts.cmake)

# All but the two main functions; a program links what it names.
file(GLOB cli_sources CONFIGURE_DEPENDS cli/*.cc)
list(REMOVE_ITEM cli_sources ${PROJECT_SOURCE_DIR}/cli/main.cc ${device_parts_sources})
add_library(dropkit_cli_parts STATIC ${cli_sources} $<TARGET_OBJECTS:dropkit_device_parts> $<TARGET_OBJECTS:dropkit_device>)
target_include_directories(dropkit_cli_parts PUBLIC ${PROJECT_SOURCE_DIR}
                           PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_BINARY_DIR}/generated)
target_link_libraries(dropkit_cli_parts PUBLIC ${device_libraries} dropkit CLI11::CLI11 nlohmann_json::nlohmann_json PNG::PNG
                                               ZLIB::ZLIB)
target_link_libraries(dropkit_cli_parts PRIVATE PkgConfig::CAIRO)
add_dependencies(dropkit_cli_parts dropkit_commit)

add_executable(dropkit_cli cli/main.cc)
set_target_properties(dropkit_cli PROPERTIES OUTPUT_NAME dropkit RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
target_link_libraries(dropkit_cli PRIVATE dropkit_cli_parts)
# Where install.cmake puts dropkit-train, from the program's folder: an installation may be moved.
include(GNUInstallDirs)
file(RELATIVE_PATH train_folder ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBEXECDIR}/dropkit)
target_compile_definitions(dropkit_cli PRIVATE DROPKIT_TRAIN_FOLDER="${train_folder}")

if(TARGET dropkit_nn)
  file(GLOB train_sources CONFIGURE_DEPENDS cli/train/*.cc)
  add_executable(dropkit_train ${train_sources})
  set_target_properties(dropkit_train PROPERTIES OUTPUT_NAME dropkit-train RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_link_libraries(dropkit_train PRIVATE dropkit_cli_parts dropkit_nn torchlib)
  add_dependencies(dropkit_cli dropkit_train)  # whoever builds the program gets all of it
endif()
