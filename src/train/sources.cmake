set(promptcache_sources adamw.cpp checkpoint.cpp dataset.cpp encoder.cpp kernels.cpp losses.cpp operations.cpp
    sharded_encoder.cpp trainer.cpp)
