#pragma once

#include <memory>

#include "promptcache/text/tokenizer.hpp"

namespace promptcache::text {

/// XLM-RoBERTa's tokenizer from sentencepiece.bpe.model, or from tokenizer.json where that is all there is, with the id
/// offset its vocabulary has (fairseq's): <s> 0, <pad> 1, </s> 2, <unk> 3, then the pieces shifted by one, <mask> last.
/// Throws `Error` naming the file.
///
/// The ids are those of transformers' fast tokenizer but for two quirks of that one: it drops marks that follow a
/// character which the character map replaces, and it takes "<pad>" for the special token when it only appears once
/// control characters are removed.
std::shared_ptr<const Tokenizer> open_sentence_piece(const ModelDirectory& directory);

}  // namespace promptcache::text
