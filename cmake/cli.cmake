# The program `dropkit` (target dropkit_cli). Its training subcommand is compiled only with LibTorch.
#
# DROPKIT_COMMIT reaches the program through a header that cmake/commit.cmake rewrites at build time when the commit
# changed: a definition made at configure time would go stale with the next commit.
find_package(PNG REQUIRED)
find_package(ZLIB REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)

set(commit_header ${PROJECT_BINARY_DIR}/commit.h)
add_custom_target(dropkit_commit ALL
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUTPUT=${commit_header}
          -P ${PROJECT_SOURCE_DIR}/cmake/commit.cmake
  BYPRODUCTS ${commit_header} COMMENT "" VERBATIM)

file(GLOB cli_sources CONFIGURE_DEPENDS cli/*.cc)
list(TRANSFORM cli_sources REPLACE "^${PROJECT_SOURCE_DIR}/" "")
set(train_sources ${cli_sources})
list(FILTER train_sources INCLUDE REGEX "^cli/(train|trainer|network|checkpoint|scenes|data|task|results|progress)\\.cc$")
if(NOT TORCH_DIR)
  list(REMOVE_ITEM cli_sources ${train_sources})
endif()

if(cli_sources)
  add_executable(dropkit_cli ${cli_sources})
  set_target_properties(dropkit_cli PROPERTIES OUTPUT_NAME dropkit RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR})
  target_include_directories(dropkit_cli PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/cli)
  target_link_libraries(dropkit_cli PRIVATE dropkit CLI11::CLI11 nlohmann_json::nlohmann_json PNG::PNG ZLIB::ZLIB)
  add_dependencies(dropkit_cli dropkit_commit)
  if(TORCH_DIR AND TARGET dropkit_nn)
    target_compile_definitions(dropkit_cli PRIVATE DROPKIT_HAVE_TORCH)
    target_link_libraries(dropkit_cli PRIVATE dropkit_nn torchlib)
    # The one file that records the commit.
    set_source_files_properties(cli/results.cc PROPERTIES COMPILE_OPTIONS "-include;${commit_header}"
                                                          OBJECT_DEPENDS ${commit_header})
  endif()
endif()
