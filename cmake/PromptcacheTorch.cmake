# LibTorch: Debian's 1.13.1, or a 2.x named by CMAKE_PREFIX_PATH.
#
# Torch's own package adds compile options to the global scope and insists on CMAKE_CXX_STANDARD of its choice; both
# stay inside this macro's caller. promptcache_find_torch(QUIET|REQUIRED)
macro(promptcache_find_torch mode)
  if(NOT Torch_FOUND)
    find_package(Torch ${mode})
  endif()
endmacro()
