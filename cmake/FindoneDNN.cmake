# oneDNN with its CPU engine. Its own package file demands OpenCL headers, which a CPU user does not have.
# Defines oneDNN::oneDNN.
find_library(oneDNN_LIBRARY NAMES dnnl)
# Headers beside that library first: LibTorch 2.x brings headers of its own oneDNN and no library to them.
get_filename_component(_onednn_place "${oneDNN_LIBRARY}" DIRECTORY)
find_path(oneDNN_INCLUDE_DIR NAMES oneapi/dnnl/dnnl.hpp NO_DEFAULT_PATH
          HINTS "${_onednn_place}/../include" "${_onednn_place}/../../include")
find_path(oneDNN_INCLUDE_DIR NAMES oneapi/dnnl/dnnl.hpp)
if(oneDNN_INCLUDE_DIR AND EXISTS "${oneDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h")
  file(READ "${oneDNN_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h" _onednn_header)
  string(REGEX MATCH "DNNL_VERSION_MAJOR +([0-9]+)" _ "${_onednn_header}")
  set(oneDNN_VERSION "${CMAKE_MATCH_1}")
  string(REGEX MATCH "DNNL_VERSION_MINOR +([0-9]+)" _ "${_onednn_header}")
  string(APPEND oneDNN_VERSION ".${CMAKE_MATCH_1}")
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(oneDNN REQUIRED_VARS oneDNN_LIBRARY oneDNN_INCLUDE_DIR VERSION_VAR oneDNN_VERSION)
if(oneDNN_FOUND AND NOT TARGET oneDNN::oneDNN)
  add_library(oneDNN::oneDNN UNKNOWN IMPORTED)
  set_target_properties(oneDNN::oneDNN PROPERTIES IMPORTED_LOCATION "${oneDNN_LIBRARY}"
                        INTERFACE_INCLUDE_DIRECTORIES "${oneDNN_INCLUDE_DIR}")
endif()
mark_as_advanced(oneDNN_INCLUDE_DIR oneDNN_LIBRARY)
