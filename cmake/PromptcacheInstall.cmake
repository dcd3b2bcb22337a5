# Installed: headers, libraries, package files, so that find_package(promptcache) gives the targets of the build tree.
include(CMakePackageConfigHelpers)

set(promptcache_cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/promptcache")
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/promptcache" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
        PATTERN "train" EXCLUDE)
install(TARGETS promptcache EXPORT promptcache-targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
install(EXPORT promptcache-targets NAMESPACE promptcache:: DESTINATION "${promptcache_cmake_dir}")
if(PROMPTCACHE_BUILD_TRAIN)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/promptcache/train" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/promptcache")
  install(TARGETS promptcache_train promptcache_reuse EXPORT promptcache-train-targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}")
  install(EXPORT promptcache-train-targets NAMESPACE promptcache:: DESTINATION "${promptcache_cmake_dir}")
endif()
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/promptcache-config.cmake.in"
  "${PROJECT_BINARY_DIR}/promptcache-config.cmake" INSTALL_DESTINATION "${promptcache_cmake_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/promptcache-config-version.cmake" COMPATIBILITY SameMinorVersion)
install(FILES
  "${PROJECT_BINARY_DIR}/promptcache-config.cmake" "${PROJECT_BINARY_DIR}/promptcache-config-version.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindoneDNN.cmake"
  "${PROJECT_SOURCE_DIR}/cmake/FindUtf8proc.cmake" DESTINATION "${promptcache_cmake_dir}")
