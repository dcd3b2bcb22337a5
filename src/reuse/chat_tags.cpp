#include "promptcache/reuse/chat_tags.hpp"

#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache::reuse {

ChatTags ChatTags::chatml() {
  const auto role = [](const std::string& name) -> RoleTags {
    return {{{"<|im_start|>", true}, {name + "\n"}}, {{"<|im_end|>", true}, {"\n"}}};
  };
  return {"chatml", role("system"), role("user"), role("assistant")};
}

ChatTags ChatTags::llama2() {
  return {"llama2",
          {{{"<s>", true}, {"[INST] <<SYS>>\n"}}, {{"\n<</SYS>>\n\n"}}},
          {{}, {{" [/INST]"}}},
          {{{" "}}, {{" "}, {"</s>", true}, {"<s>", true}, {"[INST] "}}}};
}

ChatTags ChatTags::llama3() {
  const auto role = [](const std::string& name, bool first) -> RoleTags {
    RoleTags tags{{{"<|start_header_id|>", true}, {name}, {"<|end_header_id|>", true}, {"\n\n"}},
                  {{"<|eot_id|>", true}}};
    if (first) tags.open.insert(tags.open.begin(), {"<|begin_of_text|>", true});
    return tags;
  };
  return {"llama3", role("system", true), role("user", false), role("assistant", false)};
}

namespace {

void add(const std::vector<Piece>& more, std::vector<Piece>& pieces) {
  pieces.insert(pieces.end(), more.begin(), more.end());
}

const RoleTags& tags_of(const ChatTags& tags, const std::string& role) {
  if (role == "system") return tags.system;
  if (role == "user") return tags.user;
  if (role == "assistant") return tags.assistant;
  throw Error(ErrorCode::format, {"chat"}, "role '" + role + "'", "system, user or assistant");
}

}  // namespace

Tokenize tokenize_with(std::shared_ptr<const BpeTokenizer> tokenizer) {
  return [tokenizer = std::move(tokenizer)](std::span<const Piece> pieces) {
    std::vector<std::int32_t> ids;
    for (const Piece& piece : pieces) {
      if (!piece.special) {
        const std::vector<std::int32_t> more = tokenizer->encode(piece.text);
        ids.insert(ids.end(), more.begin(), more.end());
        continue;
      }
      const auto id = tokenizer->special(piece.text);
      if (!id) {
        throw Error(ErrorCode::not_found, {"tokenizer"}, "no special token '" + piece.text + "'",
                    "the chat template of the model that the tokenizer is for");
      }
      ids.push_back(*id);
    }
    return ids;
  };
}

std::vector<Piece> render_chat(const ChatTags& tags, std::span<const ChatMessage> messages) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (i > 0 && messages[i].role == "system") {
      throw Error(ErrorCode::format, {"chat"}, "a system message behind others", "it in front, or none");
    }
    const RoleTags& role = tags_of(tags, messages[i].role);
    add(role.open, pieces);
    pieces.push_back({messages[i].content});
    add(role.close, pieces);
  }
  add(tags.assistant.open, pieces);
  return pieces;
}

std::vector<Piece> render_next(const ChatTags& tags, const ChatMessage& message) {
  std::vector<Piece> pieces;
  add(tags.assistant.close, pieces);
  add(render_chat(tags, {&message, 1}), pieces);
  return pieces;
}

}  // namespace promptcache::reuse
