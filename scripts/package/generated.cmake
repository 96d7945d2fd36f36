# What is generated: manual pages and completions from the programs' --help, copyright and changelog.
# Target: tandem_package_files.

set(tandem_generated_files "")

# tandem_generate(<file> <command>... [DEPENDS <dependency>...]): the command prints the file's text.
function(tandem_generate file)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "DEPENDS")
  set(output "${CMAKE_CURRENT_BINARY_DIR}/${file}")
  cmake_path(GET output PARENT_PATH directory)
  file(MAKE_DIRECTORY "${directory}")
  add_custom_command(OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" -E env "PATH=${CMAKE_RUNTIME_OUTPUT_DIRECTORY}:$ENV{PATH}"
      ${arg_UNPARSED_ARGUMENTS} > "${output}"
    DEPENDS ${arg_DEPENDS}
    VERBATIM)
  set(tandem_generated_files "${tandem_generated_files};${output}" PARENT_SCOPE)
endfunction()

# tandem_man(<component> <page> <section> [<program>]): the page made by man_page.sh.
macro(tandem_man component page section program)
  tandem_generate(man/${page}.${section}.gz
    "${CMAKE_CURRENT_SOURCE_DIR}/man_page.sh" ${page} ${section} ${PROJECT_VERSION}
    DEPENDS ${program} help.sh man_page.sh man/${page}.h2m)
  tandem_install(${component} FILES "${CMAKE_CURRENT_BINARY_DIR}/man/${page}.${section}.gz"
    DESTINATION share/man/man${section})
endmacro()

tandem_man(tools tandem 1 tandem)
tandem_man(tandemd tandemd 8 tandemd)
tandem_man(tandemfs tandemfs 8 tandemfs)
tandem_man(tandemfs tandemfs.toml 5 tandemfs)
tandem_generate(man/mount.fuse.tandemfs.8.gz sh -c "echo .so man8/tandemfs.8 | gzip -9n")
tandem_install(tandemfs FILES "${CMAKE_CURRENT_BINARY_DIR}/man/mount.fuse.tandemfs.8.gz"
  DESTINATION share/man/man8)

# tandem_completion(<component> <program> <shell> <name> <directory>)
macro(tandem_completion component program shell name directory)
  tandem_generate(completions/${program}/${name}
    "${CMAKE_CURRENT_SOURCE_DIR}/completions.sh" ${shell} ${program}
    DEPENDS ${program} help.sh completions.sh)
  tandem_install(${component} FILES "${CMAKE_CURRENT_BINARY_DIR}/completions/${program}/${name}"
    DESTINATION share/${directory})
endmacro()

foreach(pair IN ITEMS tools:tandem tandemd:tandemd tandemfs:tandemfs)
  string(REPLACE ":" ";" pair ${pair})
  list(GET pair 0 component)
  list(GET pair 1 program)
  tandem_completion(${component} ${program} bash ${program} bash-completion/completions)
  tandem_completion(${component} ${program} zsh _${program} zsh/vendor-completions)
  tandem_completion(${component} ${program} fish ${program}.fish fish/vendor_completions.d)
endforeach()

# tandem_documents(<component> <package>)
macro(tandem_documents component package)
  tandem_install(${component} FILES
    "${CMAKE_CURRENT_BINARY_DIR}/copyright"
    "${CMAKE_CURRENT_BINARY_DIR}/changelog.gz" "${CMAKE_CURRENT_BINARY_DIR}/changelog.Debian.gz"
    DESTINATION share/doc/${package})
  tandem_install(${component} FILES debian/lintian-overrides DESTINATION share/lintian/overrides
    RENAME ${package})
endmacro()

tandem_generate(changelog.gz gzip -9nc "${CMAKE_SOURCE_DIR}/CHANGELOG.md"
  DEPENDS "${CMAKE_SOURCE_DIR}/CHANGELOG.md")
tandem_generate(changelog.Debian.gz "${CMAKE_CURRENT_SOURCE_DIR}/debian/changelog.sh"
  "${PROJECT_VERSION}-${TANDEM_PACKAGE_RELEASE}" "${TANDEM_PACKAGE_MAINTAINER}"
  DEPENDS debian/changelog.sh)
tandem_generate(copyright "${CMAKE_CURRENT_SOURCE_DIR}/debian/copyright.sh"
  "${CMAKE_SOURCE_DIR}/LICENSE" DEPENDS debian/copyright.sh "${CMAKE_SOURCE_DIR}/LICENSE")
tandem_documents(tools tandem-tools)
tandem_documents(tandemd tandemd)
tandem_documents(tandemfs tandemfs)

add_custom_target(tandem_package_files DEPENDS ${tandem_generated_files})
