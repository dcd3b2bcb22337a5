#pragma once

#include <string>
#include <vector>

#include "promptcache/reuse/schema.hpp"

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

}  // namespace promptcache::reuse
