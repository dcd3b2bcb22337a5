set(promptcache_sources dot.cpp flat_index.cpp)
