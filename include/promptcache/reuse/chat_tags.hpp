#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "promptcache/reuse/schema.hpp"
#include "promptcache/text/bpe_tokenizer.hpp"

namespace promptcache::reuse {

/// What a model wants in front of and behind a message of one role.
struct RoleTags {
  std::vector<Piece> open, close;
};

/// The chat template of a model, as far as <system>, <user> and <assistant> in PML stand for it.
struct ChatTags {
  std::string name;
  RoleTags system, user, assistant;

  /// <|im_start|>role ... <|im_end|>: SmolLM, Qwen, MPT.
  static ChatTags chatml();
  /// [INST] <<SYS>> ... [/INST]: Llama-2 and CodeLlama. <user> is to follow <system>.
  static ChatTags llama2();
  /// <|start_header_id|>role<|end_header_id|> ... <|eot_id|>: Llama-3. The text begins with <|begin_of_text|> at
  /// <system>.
  static ChatTags llama3();
};

/// Ids of the pieces of one text, tokenized by themselves.
using Tokenize = std::function<std::vector<std::int32_t>(std::span<const Piece>)>;

/// Text by the tokenizer's rules, special pieces by their name. What it returns throws `Error(not_found)` for a special
/// token that the model does not have.
Tokenize tokenize_with(std::shared_ptr<const BpeTokenizer> tokenizer);

/// A message of a conversation; its role is system, user or assistant.
struct ChatMessage {
  std::string role, content;
};

/// Messages in a model's own form, and behind them the beginning of the assistant's next one. Throws `Error(format)`
/// for another role, and for a system message that is not the first.
std::vector<Piece> render_chat(const ChatTags& tags, std::span<const ChatMessage> messages);

/// The same for messages that go on a conversation whose last message is the assistant's, not closed yet.
std::vector<Piece> render_next(const ChatTags& tags, const ChatMessage& message);

}  // namespace promptcache::reuse
