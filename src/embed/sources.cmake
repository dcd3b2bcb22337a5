set(promptcache_sources bulk.cpp byte_product.cpp encoder.cpp kernels.cpp matrix_product.cpp opened_encoder.cpp
    packed_file.cpp transformer_embedder.cpp transformer_pair_scorer.cpp weight_codes.cpp weights_notes.cpp)
