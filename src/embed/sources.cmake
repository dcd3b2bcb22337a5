set(promptcache_sources bulk.cpp byte_product.cpp encoder.cpp kernels.cpp matrix_product.cpp packed_file.cpp
                        transformer_embedder.cpp weight_codes.cpp weights_notes.cpp)
