#include "text/sentence_piece_model.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "model/json_file.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache::text {
namespace {

// Fields of sentencepiece_model.proto.
constexpr unsigned pieces_field = 1, normalizer_field = 3, denormalizer_field = 5;
constexpr unsigned piece_text_field = 1, piece_score_field = 2, piece_type_field = 3;
constexpr unsigned map_field = 2;
enum PieceType : unsigned { normal = 1, unknown = 2, control = 3 };

/// Reads the fields of one protobuf message; stops at the first that does not parse.
class Fields {
 public:
  explicit Fields(std::string_view bytes) : rest_(bytes) {}

  /// Number of the next field; `content` is empty unless it is of the kind with a length.
  std::optional<unsigned> next(std::string_view& content) {
    content = {};
    const std::optional<std::uint64_t> key = number();
    if (!key) return std::nullopt;
    bool whole = true;
    switch (*key & 7U) {
      case 0: whole = number().has_value(); break;
      case 1: whole = take(8).has_value(); break;
      case 5: whole = take(4).has_value(); break;
      case 2: {
        const std::optional<std::uint64_t> length = number();
        const std::optional<std::string_view> taken = length ? take(*length) : std::nullopt;
        whole = taken.has_value();
        if (whole) content = *taken;
        break;
      }
      default: whole = false;
    }
    if (!whole) return std::nullopt;
    return static_cast<unsigned>(*key >> 3);
  }

 private:
  std::optional<std::uint64_t> number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= static_cast<std::uint64_t>(byte & 127U) << shift;
      if (byte < 128) return value;
    }
    return std::nullopt;
  }
  std::optional<std::string_view> take(std::uint64_t count) {
    if (count > rest_.size()) return std::nullopt;
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(count));
    rest_.remove_prefix(static_cast<std::size_t>(count));
    return taken;
  }

  std::string_view rest_;
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

void append_number(std::string& out, std::uint64_t value) {
  for (; value >= 128; value >>= 7) out += static_cast<char>(value | 128U);
  out += static_cast<char>(value);
}

void append_field(std::string& out, unsigned field, std::string_view content) {
  append_number(out, field << 3 | 2U);
  append_number(out, content.size());
  out += content;
}

void append_piece(std::string& out, std::string_view text, float score, PieceType type) {
  std::string piece;
  append_field(piece, piece_text_field, text);
  append_number(piece, piece_score_field << 3 | 5U);
  const auto bits = std::bit_cast<std::uint32_t>(score);
  for (int shift = 0; shift < 32; shift += 8) piece += static_cast<char>(bits >> shift);
  append_number(piece, piece_type_field << 3);
  append_number(piece, type);
  append_field(out, pieces_field, piece);
}

std::optional<std::string> from_base64(std::string_view text) {
  std::string bytes;
  std::uint32_t value = 0;
  int bits = 0;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  for (const char c : text) {
    unsigned digit = 0;
    if (c >= 'A' && c <= 'Z')
      digit = static_cast<unsigned>(c - 'A');
    else if (c >= 'a' && c <= 'z')
      digit = static_cast<unsigned>(c - 'a') + 26;
    else if (c >= '0' && c <= '9')
      digit = static_cast<unsigned>(c - '0') + 52;
    else if (c == '+' || c == '/')
      digit = c == '+' ? 62 : 63;
    else
      return std::nullopt;
    value = value << 6 | digit;
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(value >> bits);
  }
  return bytes;
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

void check_character_map(const std::string& path, const std::string& content) {
  Fields model(content);
  std::string_view part;
  while (const std::optional<unsigned> field = model.next(part)) {
    if (*field != normalizer_field && *field != denormalizer_field) continue;
    Fields normalizer(part);
    std::string_view map;
    while (const std::optional<unsigned> inner = normalizer.next(map)) {
      if (*inner == map_field && !map.empty() && !stays_inside(map)) {
        throw Error(ErrorCode::format, {path}, "a character map that points outside itself", "a sentencepiece model");
      }
    }
  }
}

std::string sentence_piece_from_tokenizer_json(const std::string& path) {
  const Json json = parse_json(path, read_file(path));
  check_arrangement(path, json);
  const Json& pieces = json_at(json["model"], "vocab");
  const char* const frame[] = {"<s>", "<pad>", "</s>", "<unk>"};
  const auto text_of = [&](std::size_t i) -> std::string {
    const Json& piece = pieces[i];
    const bool sound = piece.is_array() && piece.size() == 2 && piece[0].is_string() && piece[1].is_number();
    if (!sound || !std::isfinite(static_cast<float>(piece[1].get<double>()))) {
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
  std::string model;
  append_piece(model, "<unk>", 0, unknown);
  append_piece(model, "<s>", 0, control);
  append_piece(model, "</s>", 0, control);
  for (std::size_t i = 4; i + 1 < pieces.size(); ++i) {
    const std::string text = text_of(i);
    append_piece(model, text, static_cast<float>(pieces[i][1].get<double>()), normal);
  }
  const Json& map = json_at(json["normalizer"], "precompiled_charsmap");
  const std::optional<std::string> bytes = map.is_string() ? from_base64(map.get<std::string>()) : std::nullopt;
  if (!bytes) throw Error(ErrorCode::format, {path}, "no precompiled_charsmap", "a character map in base64");
  std::string normalizer;
  append_field(normalizer, map_field, *bytes);
  append_field(model, 2, "");  // a trainer specification of defaults: unigram, <unk> 0, <s> 1, </s> 2
  append_field(model, normalizer_field, normalizer);
  return model;
}

}  // namespace promptcache::text
