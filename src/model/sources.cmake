set(promptcache_sources encoder_weights.cpp model_directory.cpp safetensors.cpp)
