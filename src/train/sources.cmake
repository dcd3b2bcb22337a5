set(promptcache_sources adamw.cpp checkpoint.cpp dataset.cpp encoder.cpp kernels.cpp losses.cpp operations.cpp
    run_setup.cpp sharded_encoder.cpp trainer.cpp)
