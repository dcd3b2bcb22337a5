set(promptcache_sources candidates.cpp dot.cpp flat_index.cpp graph.cpp hnsw_index.cpp)
