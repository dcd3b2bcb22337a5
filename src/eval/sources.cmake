set(promptcache_sources classification.cpp hit_bound.cpp platt.cpp roc.cpp stream.cpp)
