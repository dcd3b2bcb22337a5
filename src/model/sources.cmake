set(promptcache_sources encoder_weights.cpp gguf.cpp gguf_blocks.cpp model_directory.cpp pair_head.cpp safetensors.cpp)
