set(promptcache_sources assemble.cpp chat_tags.cpp layout.cpp pml.cpp pml_reader.cpp pml_text.cpp schema.cpp)
