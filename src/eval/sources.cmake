set(promptcache_sources classification.cpp platt.cpp roc.cpp stream.cpp)
