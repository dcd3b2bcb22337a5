set(promptcache_sources base64.cpp digest.cpp error.cpp file.cpp hex.cpp isa.cpp mapped_file.cpp)
