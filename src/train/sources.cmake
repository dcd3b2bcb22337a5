set(promptcache_sources adamw.cpp checkpoint.cpp dataset.cpp encoder.cpp losses.cpp trainer.cpp)
