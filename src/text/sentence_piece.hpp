#pragma once

#include <memory>

#include "promptcache/text/tokenizer.hpp"

namespace promptcache::text {

/// XLM-RoBERTa's tokenizer from sentencepiece.bpe.model, with the id offset its vocabulary has (methods of fairseq):
/// <s> 0, <pad> 1, </s> 2, <unk> 3, then the pieces shifted by one, <mask> last. Throws `Error` naming the file.
std::shared_ptr<const Tokenizer> open_sentence_piece(const ModelDirectory& directory);

}  // namespace promptcache::text
