set(promptcache_sources encoder.cpp kernels.cpp matrix_product.cpp transformer_embedder.cpp)
