#include "text/sentence_piece_model.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/base64.hpp"
#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache::text {
namespace {

/// Reads the fields of one protobuf message.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  struct Field {
    unsigned number = 0;
    std::uint64_t value = 0;  // of a number, raw
    std::string_view bytes;   // of a field with a length
  };

  /// Empty at the end, and where the bytes do not parse: `whole` tells.
  std::optional<Field> next() {
    if (rest_.empty()) return std::nullopt;
    whole_ = false;
    const std::optional<std::uint64_t> key = varint();
    if (!key) return std::nullopt;
    Field field;
    field.number = static_cast<unsigned>(*key >> 3);
    const auto kind = static_cast<unsigned>(*key & 7U);
    if (kind == 0 || kind == 2) {
      const std::optional<std::uint64_t> value = varint();
      if (!value) return std::nullopt;
      field.value = *value;
    }
    if (kind != 0) {
      const std::uint64_t length = kind == 1 ? 8 : kind == 5 ? 4 : field.value;
      if ((kind != 1 && kind != 2 && kind != 5) || length > rest_.size()) return std::nullopt;
      field.bytes = rest_.substr(0, static_cast<std::size_t>(length));
      rest_.remove_prefix(static_cast<std::size_t>(length));
    }
    whole_ = true;
    return field;
  }

  bool whole() const { return whole_; }

 private:
  std::optional<std::uint64_t> varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 127U) << shift;
      if (byte < 128) return value;
    }
    return std::nullopt;
  }

  std::string_view rest_;
  bool whole_ = true;
};

std::uint32_t unit_at(std::string_view units, std::size_t index) {
  std::uint32_t unit = 0;
  std::memcpy(&unit, units.data() + 4 * index, sizeof(unit));
  return unit;
}

/// A map is: bytes of the trie (u32), the trie (a Darts double array), the replacement texts, each ended by a zero.
bool stays_inside(std::string_view map) {
  std::uint32_t trie_bytes = 0;
  if (map.size() <= sizeof(trie_bytes)) return false;
  std::memcpy(&trie_bytes, map.data(), sizeof(trie_bytes));
  map.remove_prefix(sizeof(trie_bytes));
  if (trie_bytes >= map.size() || trie_bytes % 4 != 0 || trie_bytes == 0 || map.back() != '\0') return false;
  const std::string_view units = map.substr(0, trie_bytes);
  const std::size_t texts = map.size() - trie_bytes;
  const std::size_t count = trie_bytes / 4;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t unit = unit_at(units, i);
    if ((unit >> 31) != 0) continue;  // a value, checked below from its node
    const std::size_t children = i ^ ((unit >> 10) << ((unit & (1U << 9)) >> 6));
    if ((children | 0xFF) >= count) return false;
    if (((unit >> 8) & 1U) != 0 && (unit_at(units, children) & 0x7FFFFFFFU) >= texts) return false;
  }
  return true;
}

void check_character_map(const std::string& path, std::string_view map) {
  if (!map.empty() && !stays_inside(map)) {
    throw Error(ErrorCode::format, {path}, "a character map that points outside itself", "a sentencepiece model");
  }
}

/// Refuses every other arrangement of normalizer, splitting and frame, naming it.
void check_arrangement(const std::string& path, const Json& json) {
  const auto type = [](const Json& part) {
    return json_at(part, "type").is_string() ? part["type"].get<std::string>() : std::string("none");
  };
  const auto require = [&](const std::string& what, const std::string& found, const std::string& wanted) {
    if (found != wanted) throw Error(ErrorCode::unsupported, {path}, what + " '" + found + "'", "'" + wanted + "'");
  };
  require("model", type(json_at(json, "model")), "Unigram");
  require("normalizer", type(json_at(json, "normalizer")), "Precompiled");
  const Json& splitter = json_at(json, "pre_tokenizer");
  std::string order = type(splitter);
  if (json_at(splitter, "pretokenizers").is_array()) {
    for (const Json& part : splitter["pretokenizers"]) order += ", " + type(part);
  }
  require("pre_tokenizer", order, "Sequence, WhitespaceSplit, Metaspace");
  const Json& space = json_at(splitter["pretokenizers"][1], "prepend_scheme");
  if (!space.is_null()) require("prepend_scheme", space.is_string() ? space.get<std::string>() : "none", "always");
  const std::string frame = type(json_at(json, "post_processor"));
  if (frame != "RobertaProcessing") require("post_processor", frame, "TemplateProcessing");
  const Json& fallback = json_at(json["model"], "byte_fallback");
  if (fallback.is_boolean() && fallback.get<bool>()) require("model", "Unigram with byte_fallback", "Unigram");
  if (!json_at(json, "added_tokens").is_array()) return;
  for (const Json& token : json["added_tokens"]) {
    const std::string text = json_at(token, "content").is_string() ? token["content"].get<std::string>() : "";
    bool known = false;
    for (const char* name : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"}) known = known || text == name;
    if (!known) {
      throw Error(ErrorCode::unsupported, {path}, "added token '" + text + "'", "those of XLM-RoBERTa only");
    }
  }
}

}  // namespace

PieceModel read_sentence_piece_model(const std::string& path, const std::string& content) {
  // Numbers of sentencepiece_model.proto: fields of the model, of a piece, and of the two specifications.
  constexpr unsigned pieces_field = 1, trainer_field = 2, normalizer_field = 3;
  constexpr unsigned text_field = 1, score_field = 2, type_field = 3;
  enum PieceType : std::uint64_t { normal = 1, unknown = 2, control = 3 };
  constexpr unsigned model_type = 3, spaces_behind = 24, byte_fallback = 35;
  constexpr unsigned map_field = 2, space_in_front = 3, single_spaces = 4, marked_spaces = 5;
  const auto damaged = [&] {
    return Error(ErrorCode::format, {path}, "bytes that do not parse", "a sentencepiece model");
  };
  const auto require = [&](bool good, const std::string& found, const std::string& wanted) {
    if (!good) throw Error(ErrorCode::unsupported, {path}, found, wanted);
  };
  PieceModel result;
  std::size_t count = 0;
  const auto add_piece = [&](std::string_view bytes) {
    PieceModel::Piece piece;
    std::uint64_t type = normal;
    Fields fields(bytes);
    while (const auto field = fields.next()) {
      if (field->number == text_field) piece.text = field->bytes;
      if (field->number == type_field) type = field->value;
      if (field->number == score_field && field->bytes.size() == sizeof(float)) {
        std::memcpy(&piece.score, field->bytes.data(), sizeof(float));
      }
    }
    if (!fields.whole() || !std::isfinite(piece.score)) throw damaged();
    const char* const frame[] = {"<unk>", "<s>", "</s>"};
    if (count < 3) {
      require(piece.text == frame[count] && type == (count == 0 ? unknown : control),
              "piece " + std::to_string(count) + " '" + piece.text + "'",
              "<unk>, <s> and </s> first, as in XLM-RoBERTa");
    } else {
      require(type == normal, "piece '" + piece.text + "' of type " + std::to_string(type), "normal pieces");
      if (piece.text.empty()) throw damaged();
      result.pieces.push_back(std::move(piece));
    }
    ++count;
  };
  Fields model(content);
  while (const auto part = model.next()) {
    if (part->number == pieces_field) add_piece(part->bytes);
    if (part->number != trainer_field && part->number != normalizer_field) continue;
    Fields fields(part->bytes);
    while (const auto field = fields.next()) {
      if (part->number == trainer_field) {
        require(field->number != model_type || field->value == 1, "a model of type " + std::to_string(field->value),
                "1, unigram");
        require(field->number != spaces_behind || field->value == 0, "spaces behind words", "spaces before words");
        require(field->number != byte_fallback || field->value == 0, "a unigram model with byte_fallback",
                "one without");
      } else {
        if (field->number == map_field) result.character_map = field->bytes;
        for (const unsigned flag : {space_in_front, single_spaces, marked_spaces}) {
          require(field->number != flag || field->value == 1, "another treatment of spaces", "sentencepiece's default");
        }
      }
    }
    if (!fields.whole()) throw damaged();
  }
  if (!model.whole() || result.pieces.empty()) throw damaged();
  check_character_map(path, result.character_map);
  return result;
}

PieceModel read_sentence_piece_json(const std::string& path) {
  const Json json = parse_json(path, read_file(path));
  check_arrangement(path, json);
  const Json& pieces = json_at(json["model"], "vocab");
  const char* const frame[] = {"<s>", "<pad>", "</s>", "<unk>"};
  const auto text_of = [&](std::size_t i) -> std::string {
    const Json& piece = pieces[i];
    const bool sound = piece.is_array() && piece.size() == 2 && piece[0].is_string() && piece[1].is_number();
    if (!sound || !std::isfinite(static_cast<float>(piece[1].get<double>())) || piece[0].get<std::string>().empty()) {
      throw Error(ErrorCode::format, {path}, "piece " + std::to_string(i) + " of another form", "a text and a score");
    }
    return piece[0].get<std::string>();
  };
  bool framed = pieces.is_array() && pieces.size() > 5 && text_of(pieces.size() - 1) == "<mask>";
  for (std::size_t i = 0; framed && i < 4; ++i) framed = text_of(i) == frame[i];
  if (!framed) {
    throw Error(ErrorCode::unsupported, {path}, "a vocabulary of another order",
                "<s>, <pad>, </s>, <unk>, the pieces, <mask>");
  }
  PieceModel result;
  for (std::size_t i = 4; i + 1 < pieces.size(); ++i) {
    result.pieces.push_back({text_of(i), static_cast<float>(pieces[i][1].get<double>())});
  }
  const Json& map = json_at(json["normalizer"], "precompiled_charsmap");
  const std::optional<std::string> bytes = map.is_string() ? from_base64(map.get<std::string>()) : std::nullopt;
  if (!bytes) throw Error(ErrorCode::format, {path}, "no precompiled_charsmap", "a character map in base64");
  check_character_map(path, *bytes);
  result.character_map = *bytes;
  return result;
}

}  // namespace promptcache::text
