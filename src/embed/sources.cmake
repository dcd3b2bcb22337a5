set(promptcache_sources bulk.cpp encoder.cpp kernels.cpp matrix_product.cpp transformer_embedder.cpp
                        weights_notes.cpp)
