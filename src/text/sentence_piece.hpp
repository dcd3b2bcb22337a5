#pragma once

#include <memory>

#include "promptcache/text/tokenizer.hpp"

namespace promptcache::text {

/// XLM-RoBERTa's tokenizer from sentencepiece.bpe.model, or from tokenizer.json where that is all there is, with the id
/// offset its vocabulary has (fairseq's): <s> 0, <pad> 1, </s> 2, <unk> 3, then the pieces shifted by one, <mask> last.
/// Throws `Error` naming the file.
///
/// The ids are those of transformers' fast tokenizer except where that one leaves sentencepiece's rules: it drops marks
/// behind a character that the character map replaces; it does not compose clusters of six bytes and more (kana with a
/// separate voicing mark, Hangul written in single letters); and it takes "<pad>" and the like for special tokens when
/// they only appear once control characters are removed. There the ids here are sentencepiece's own.
std::shared_ptr<const Tokenizer> open_sentence_piece(const ModelDirectory& directory);

}  // namespace promptcache::text
