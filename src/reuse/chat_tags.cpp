#include "promptcache/reuse/chat_tags.hpp"

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

}  // namespace promptcache::reuse
