#pragma once

#include <string>

namespace promptcache::text {

/// Checks the parts of a serialized sentencepiece model that the library follows without looking: the character map's
/// trie must stay inside its own array. `content` must be a model that parses. Throws `Error(format)` naming `path`.
void check_character_map(const std::string& path, const std::string& content);

/// A serialized sentencepiece model with the pieces, scores and character map of an XLM-RoBERTa tokenizer.json, in the
/// order of sentencepiece (<unk>, <s>, </s>, pieces; <pad> and <mask> are none). Throws `Error` naming the file.
std::string sentence_piece_from_tokenizer_json(const std::string& path);

}  // namespace promptcache::text
