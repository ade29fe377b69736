# `cpack -G DEB`: one Debian package of what needs no LibTorch: the program, the shared library, and what to compile with.
#
# LibTorch is no Debian package of a version that serves, so `dropkit train` and dropkit::nn come from a build of one's
# own. What the package depends on is read off its binaries (dpkg-shlibdeps).
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME dropkit)
set(CPACK_PACKAGE_VENDOR dropkit)
set(CPACK_PACKAGE_CONTACT "dropkit developers <dropkit@example.org>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "DropBlock and its family of structured dropout")
set(CPACK_PACKAGE_DESCRIPTION "dropkit samples and applies the masks of dropout, spatial dropout,
stochastic depth, DropBlock, Cutout and DropConnect, by a law that is
defined to the last bit. This package has the program `dropkit` without
`dropkit train`, the shared and the static library, their headers, and
files for CMake and pkg-config.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)

set(CPACK_COMPONENTS_ALL library development debian)
if(TARGET dropkit_cli)
  list(APPEND CPACK_COMPONENTS_ALL program)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)  # else every component is packed, whatever the list above says
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "g++, cmake, pkg-config")
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)  # what a package that links the shared library has to depend on
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
include(CPack)
