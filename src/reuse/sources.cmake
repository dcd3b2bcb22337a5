set(promptcache_sources assemble.cpp chat_tags.cpp decoder.cpp decoder_directory.cpp decoder_file.cpp decoder_gguf.cpp generation.cpp
    layout.cpp chain.cpp compute.cpp kv_block.cpp kv_file.cpp kv_store.cpp
    pml.cpp pml_reader.cpp pml_text.cpp prompt_modules.cpp schema.cpp)
# The decoder on LibTorch, a target of its own: promptcache::reuse.
set(promptcache_reuse_sources decoder_kernels.cpp torch_decoder.cpp)
