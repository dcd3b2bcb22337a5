set(promptcache_sources candidates.cpp dot.cpp dot_tile.cpp exact_rows.cpp flat_index.cpp graph.cpp
  hnsw_index.cpp quantize.cpp)
