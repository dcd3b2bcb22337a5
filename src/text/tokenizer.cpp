#include "promptcache/text/tokenizer.hpp"

#include <string>

#include "promptcache/base/error.hpp"
#include "promptcache/model/model_directory.hpp"
#include "text/sentence_piece.hpp"
#include "text/word_piece.hpp"

namespace promptcache {

std::shared_ptr<const Tokenizer> open_tokenizer(const ModelDirectory& directory) {
  const EncoderConfig& config = directory.encoder();
  std::shared_ptr<const Tokenizer> tokenizer = config.architecture == Architecture::bert
                                                   ? text::open_word_piece(directory)
                                                   : text::open_sentence_piece(directory);
  if (tokenizer->vocabulary_size() > config.vocabulary_size) {
    throw Error(ErrorCode::mismatch, {directory.path()},
                "a tokenizer with " + std::to_string(tokenizer->vocabulary_size()) + " ids",
                "at most " + std::to_string(config.vocabulary_size) + ", the rows of the word embeddings");
  }
  return tokenizer;
}

}  // namespace promptcache
