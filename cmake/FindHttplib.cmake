# cpp-httplib, header-only or compiled, with TLS. Defines Httplib::Httplib. What its headers are compiled with must be what
# its library was: the package file says so.
find_package(PkgConfig QUIET)
if(PKG_CONFIG_FOUND)
  pkg_check_modules(Httplib_PC QUIET IMPORTED_TARGET cpp-httplib)
endif()
find_path(Httplib_INCLUDE_DIR NAMES httplib.h HINTS ${Httplib_PC_INCLUDE_DIRS})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Httplib REQUIRED_VARS Httplib_INCLUDE_DIR VERSION_VAR Httplib_PC_VERSION)
if(Httplib_FOUND AND NOT TARGET Httplib::Httplib)
  add_library(Httplib::Httplib INTERFACE IMPORTED)
  if(TARGET PkgConfig::Httplib_PC)
    set_target_properties(Httplib::Httplib PROPERTIES INTERFACE_LINK_LIBRARIES "PkgConfig::Httplib_PC")
  else()  # a lone header
    find_package(OpenSSL REQUIRED COMPONENTS SSL Crypto)
    set_target_properties(Httplib::Httplib PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${Httplib_INCLUDE_DIR}"
      INTERFACE_COMPILE_DEFINITIONS CPPHTTPLIB_OPENSSL_SUPPORT INTERFACE_LINK_LIBRARIES "OpenSSL::SSL;OpenSSL::Crypto")
  endif()
endif()
mark_as_advanced(Httplib_INCLUDE_DIR)
