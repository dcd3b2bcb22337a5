#pragma once

#include <string>

#include "text/unigram.hpp"

namespace promptcache::text {

/// Reads a sentencepiece model file's content. Its pieces must begin with <unk>, <s>, </s>, as XLM-RoBERTa's do, and be
/// of the unigram kind with sentencepiece's default treatment of spaces; what is not supported is named. The character
/// map is checked to stay inside itself. Throws `Error` naming `path`.
PieceModel read_sentence_piece_model(const std::string& path, const std::string& content);

/// The same from an XLM-RoBERTa tokenizer.json.
PieceModel read_sentence_piece_json(const std::string& path);

}  // namespace promptcache::text
