set(promptcache_sources bert_normalizer.cpp bpe.cpp bpe_tokenizer.cpp pair_encoding.cpp sentence_piece.cpp sentence_piece_model.cpp
    special_tokens.cpp tokenizer.cpp unicode_exceptions.cpp unigram.cpp utf8.cpp word_piece.cpp word_cutter.cpp word_piece_files.cpp)
