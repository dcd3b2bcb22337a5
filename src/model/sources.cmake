set(promptcache_sources encoder_weights.cpp model_directory.cpp pair_head.cpp safetensors.cpp)
