set(promptcache_sources digest.cpp error.cpp file.cpp isa.cpp)
