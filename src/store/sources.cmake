set(promptcache_sources memory_store.cpp)
