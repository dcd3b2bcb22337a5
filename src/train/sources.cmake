set(promptcache_sources adamw.cpp batch.cpp checkpoint.cpp dataset.cpp encoder.cpp inputs.cpp kernels.cpp losses.cpp
    operations.cpp repeated.cpp run_setup.cpp scoring.cpp sharded_encoder.cpp trainer.cpp)
