#include "fuzz.hpp"
#include "promptcache/reuse/layout.hpp"
#include "promptcache/reuse/pml.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace promptcache::reuse;
  // A schema, and behind a zero byte a prompt.
  const std::string_view text = fuzz::text_of(data, size);
  const std::size_t zero = std::min(text.find('\0'), text.size());
  const Tokenize bytes = [](std::span<const Piece> pieces) {
    std::vector<std::int32_t> ids;
    for (const Piece& piece : pieces) {
      for (const char byte : piece.text) ids.push_back(byte);
    }
    return ids;
  };
  fuzz::errors_only([&] {
    const Placed schema = lay_out(parse_schema(text.substr(0, zero), "s.pml", {.read_files = false}), bytes);
    scaffold_tokens(schema, {}, 0);
    fuzz::errors_only([&] {
      Prompt prompt = parse_prompt(text.substr(std::min(zero + 1, text.size())), "p.pml", {.read_files = false});
      prompt.schema = schema.name;
      assemble(schema, prompt, bytes);
    });
  });
  return 0;
}
