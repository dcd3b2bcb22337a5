set(promptcache_sources cache.cpp core.cpp lookup.cpp scope.cpp single_flight.cpp)
