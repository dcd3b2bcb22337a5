set(promptcache_sources classification.cpp hit_bound.cpp platt.cpp prompt_clusters.cpp replay.cpp roc.cpp simulation.cpp
  stream.cpp)
