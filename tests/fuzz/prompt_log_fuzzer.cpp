#include <algorithm>
#include <cstdlib>

#include "fuzz.hpp"
#include "promptcache/pairs/prompt_log.hpp"

// The bytes as a prompt log: TSV, JSON lines, plain lines or gzip, whichever they look like and whatever is asked for.
// What is read is what the tools may rely on: prompts that are one cell of a TSV file each, all of them counted.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using promptcache::PromptFormat;
  static const fuzz::Directory directory("");
  const std::string path = directory.write("prompts", fuzz::text_of(data, size));
  const std::uint8_t kind = size == 0 ? 0 : data[size - 1];
  promptcache::PromptLogOptions options;
  options.format = static_cast<PromptFormat>(kind % 4);
  options.merge = (kind & 4) != 0 ? promptcache::PromptMerge::normalized : promptcache::PromptMerge::exact;
  if ((kind & 8) != 0) options.max_bytes = 16;
  fuzz::errors_only([&] {
    const promptcache::PromptLog log = promptcache::read_prompt_log(path, options);
    if (log.prompts.empty() || log.prompts.size() > log.read) std::abort();
    for (const promptcache::Prompt& prompt : log.prompts) {
      const bool one_cell = std::none_of(prompt.text.begin(), prompt.text.end(),
                                         [](char c) { return static_cast<unsigned char>(c) < ' '; });
      if (prompt.text.empty() || !one_cell || prompt.count == 0 || prompt.line == 0) std::abort();
    }
  });
  return 0;
}
