set(promptcache_sources gzip_reader.cpp pair_file.cpp select.cpp similarity.cpp split.cpp)
