#include "text/sentence_piece.hpp"

#include <sentencepiece_processor.h>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "text/encoding.hpp"
#include "text/sentence_piece_model.hpp"
#include "text/special_tokens.hpp"
#include "text/utf8.hpp"

namespace promptcache::text {
namespace {

constexpr std::int32_t start_id = 0;
constexpr std::int32_t pad_id = 1;
constexpr std::int32_t end_id = 2;
constexpr std::int32_t unknown_id = 3;
constexpr std::int32_t offset = 1;  // fairseq's <pad> stands before the pieces

class SentencePiece : public Tokenizer {
 public:
  /// `content` is a serialized model, from the file `path`.
  SentencePiece(const std::string& path, const std::string& content) {
    check_character_map(path, content);
    const sentencepiece::util::Status status = processor_.LoadFromSerializedProto(content);
    if (!status.ok() || processor_.GetPieceSize() < 4) {
      throw Error(ErrorCode::format, {path}, status.ok() ? "no pieces" : "'" + std::string(status.message()) + "'",
                  "a sentencepiece model");
    }
    if (processor_.unk_id() != 0 || processor_.bos_id() != 1 || processor_.eos_id() != 2) {
      throw Error(ErrorCode::unsupported, {path},
                  "<unk> " + std::to_string(processor_.unk_id()) + ", <s> " + std::to_string(processor_.bos_id()) +
                      ", </s> " + std::to_string(processor_.eos_id()),
                  "0, 1 and 2 as in XLM-RoBERTa");
    }
    mask_id_ = processor_.GetPieceSize() + offset;
    special_tokens_.add("<s>", start_id);
    special_tokens_.add("<pad>", pad_id);
    special_tokens_.add("</s>", end_id);
    special_tokens_.add("<unk>", unknown_id);
    special_tokens_.add("<mask>", mask_id_);
    identity_ = Sha256().field("tokenizer", "sentencepiece").field("model", content).finish();
  }

  Encoding encode(std::string_view text, std::size_t max_tokens) const override {
    std::vector<std::int32_t> ids;
    for (const SpecialTokens::Segment& segment : special_tokens_.cut(text)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
        continue;
      }
      std::string valid;
      valid.reserve(segment.text.size());
      // U+0085 is white space to the fast tokenizer, and a letter to sentencepiece.
      for (char32_t c : decode_utf8(segment.text)) append_utf8(valid, c == 0x85 ? U' ' : c);
      std::vector<int> pieces;
      const sentencepiece::util::Status status = processor_.Encode(valid, &pieces);
      if (!status.ok()) {
        throw Error(ErrorCode::usage, {"text"}, "'" + std::string(status.message()) + "'",
                    "a text sentencepiece takes");
      }
      for (int piece : pieces) ids.push_back(piece == 0 ? unknown_id : piece + offset);
    }
    return framed(ids, start_id, end_id, unknown_id, max_tokens);
  }

  std::size_t vocabulary_size() const override { return static_cast<std::size_t>(mask_id_) + 1; }
  std::int32_t padding_id() const override { return pad_id; }
  Digest identity() const override { return identity_; }

 private:
  sentencepiece::SentencePieceProcessor processor_;
  SpecialTokens special_tokens_;
  std::int32_t mask_id_ = 0;
  Digest identity_;
};

}  // namespace

std::shared_ptr<const Tokenizer> open_sentence_piece(const ModelDirectory& directory) {
  for (const char* name : {"sentencepiece.bpe.model", "spiece.model", "tokenizer.model"}) {
    if (!directory.has_file(name)) continue;
    const std::string path = directory.file(name);
    return std::make_shared<SentencePiece>(path, read_file(path));
  }
  if (directory.has_file("tokenizer.json")) {
    const std::string path = directory.file("tokenizer.json");
    return std::make_shared<SentencePiece>(path, sentence_piece_from_tokenizer_json(path));
  }
  throw Error(ErrorCode::not_found, {directory.path()}, "neither sentencepiece.bpe.model nor tokenizer.json",
              "the tokenizer of an XLM-RoBERTa directory");
}

}  // namespace promptcache::text
