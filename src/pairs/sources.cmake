set(promptcache_sources gzip_reader.cpp neighbours.cpp nearest_graph.cpp pair_file.cpp pair_sample.cpp prompt_log.cpp
  select.cpp similarity.cpp similarity_blocks.cpp split.cpp)
