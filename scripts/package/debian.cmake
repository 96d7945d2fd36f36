# Packages by cpack: one a component. Another package is a component here, its files in CMakeLists.txt
# and, if it has maintainer scripts, a folder in debian/.

set(CPACK_GENERATOR DEB)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_COMPONENTS_ALL tools tandemd tandemfs)
set(CPACK_PACKAGE_NAME tandemfs)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "${TANDEM_PACKAGE_MAINTAINER}")
set(CPACK_DEBIAN_PACKAGE_RELEASE ${TANDEM_PACKAGE_RELEASE})
set(CPACK_DEBIAN_PACKAGE_SOURCE tandemfs)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "")
set(tandem_same_tools "tandem-tools (= ${PROJECT_VERSION}-${TANDEM_PACKAGE_RELEASE})")

# tandem_package(<component> <package> <summary> <text> [DEPENDS <dependency>...]
#                [SUGGESTS <package>])
macro(tandem_package component package summary text)
  cmake_parse_arguments(arg "" "SUGGESTS" "DEPENDS" ${ARGN})
  string(TOUPPER ${component} key)
  set(CPACK_DEBIAN_${key}_PACKAGE_SUGGESTS "${arg_SUGGESTS}")
  string(JOIN ", " CPACK_DEBIAN_${key}_PACKAGE_DEPENDS ${arg_DEPENDS})
  set(CPACK_DEBIAN_${key}_PACKAGE_NAME ${package})
  # The first line is the summary.
  set(CPACK_COMPONENT_${key}_DESCRIPTION "${summary}\n${text}")
  file(GLOB CPACK_DEBIAN_${key}_PACKAGE_CONTROL_EXTRA
    "${CMAKE_CURRENT_SOURCE_DIR}/debian/${package}/p*"
    "${CMAKE_CURRENT_SOURCE_DIR}/debian/${package}/conffiles")
endmacro()

tandem_package(tools tandem-tools "command line of tandemfs" "\
tandemfs is a filesystem for a directory that must also exist on another host.
This package has the program tandem, which shows mounts and the state of their
replicas, waits until everything is replicated, pauses, and verifies that a
replica is the same as its source.")
tandem_package(tandemd tandemd "replica daemon for tandemfs" "\
Keeps replicas of directories that other hosts mount with tandemfs. Each is a
plain directory tree that moves from one consistent state of its source to the
next. Hosts connect by TLS with keys of their own, or by ssh.
.
This package is for backup hosts. It does not need FUSE."
  DEPENDS "${tandem_same_tools}" "systemd | systemd-standalone-sysusers | systemd-sysusers"
  SUGGESTS openssh-server)
tandem_package(tandemfs tandemfs "filesystem that replicates a directory as it changes" "\
Mounts a layer over a directory. Every change made through it is captured
before it happens and carried, as what changed and no more, to replica daemons
(tandemd) on other hosts. A replica is a plain directory tree, and tandem
verify proves that it is the same."
  DEPENDS "${tandem_same_tools}" fuse3
  SUGGESTS openssh-client)

include(CPack)
