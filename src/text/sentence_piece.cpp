#include "text/sentence_piece.hpp"

#include <bit>
#include <cstdint>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"
#include "promptcache/model/model_directory.hpp"
#include "text/encoding.hpp"
#include "text/sentence_piece_model.hpp"
#include "text/special_tokens.hpp"
#include "text/unigram.hpp"
#include "text/utf8.hpp"

namespace promptcache::text {
namespace {

constexpr std::int32_t start_id = 0;
constexpr std::int32_t pad_id = 1;
constexpr std::int32_t end_id = 2;
constexpr std::int32_t unknown_id = 3;
constexpr std::int32_t first_piece_id = 4;

class SentencePiece : public Tokenizer {
 public:
  explicit SentencePiece(const PieceModel& model)
      : normalizer_(model.character_map),
        segmenter_(model.pieces),
        mask_id_(first_piece_id + static_cast<std::int32_t>(model.pieces.size())) {
    special_tokens_.add("<s>", start_id);
    special_tokens_.add("<pad>", pad_id);
    special_tokens_.add("</s>", end_id);
    special_tokens_.add("<unk>", unknown_id);
    special_tokens_.add("<mask>", mask_id_);
    Sha256 hash;
    hash.field("tokenizer", "sentencepiece unigram").field("character map", model.character_map);
    for (const PieceModel::Piece& piece : model.pieces) {
      const auto bits = std::bit_cast<std::uint32_t>(piece.score);
      hash.field(piece.text, std::to_string(bits));
    }
    identity_ = hash.finish();
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
      for (const std::int32_t place : segmenter_.segment(normalizer_.normalize(valid))) {
        ids.push_back(place == UnigramSegmenter::unknown ? unknown_id : first_piece_id + place);
      }
    }
    return framed(ids, start_id, end_id, unknown_id, max_tokens);
  }

  std::size_t vocabulary_size() const override { return static_cast<std::size_t>(mask_id_) + 1; }
  std::int32_t padding_id() const override { return pad_id; }
  Digest identity() const override { return identity_; }

 private:
  PieceNormalizer normalizer_;
  UnigramSegmenter segmenter_;
  std::int32_t mask_id_;
  SpecialTokens special_tokens_;
  Digest identity_;
};

}  // namespace

std::shared_ptr<const Tokenizer> open_sentence_piece(const ModelDirectory& directory) {
  for (const char* name : {"sentencepiece.bpe.model", "spiece.model", "tokenizer.model"}) {
    if (!directory.has_file(name)) continue;
    const std::string path = directory.file(name);
    return std::make_shared<SentencePiece>(read_sentence_piece_model(path, read_file(path)));
  }
  if (directory.has_file("tokenizer.json")) {
    const std::string path = directory.file("tokenizer.json");
    return std::make_shared<SentencePiece>(read_sentence_piece_json(path));
  }
  throw Error(ErrorCode::not_found, {directory.path()}, "neither sentencepiece.bpe.model nor tokenizer.json",
              "the tokenizer of an XLM-RoBERTa directory");
}

}  // namespace promptcache::text
