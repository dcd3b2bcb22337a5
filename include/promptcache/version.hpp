#pragma once

/// Version of the library, read by CMake from this file.
#define PROMPTCACHE_VERSION_MAJOR 0
#define PROMPTCACHE_VERSION_MINOR 1
#define PROMPTCACHE_VERSION_PATCH 0
#define PROMPTCACHE_VERSION "0.1.0"
