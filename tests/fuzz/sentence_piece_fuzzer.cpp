#include "fuzz.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"

// The first byte chooses: a text for a sound tokenizer, a sentencepiece model, or a tokenizer.json.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view content = fuzz::text_of(data + 1, size - 1);
  static const fuzz::Directory sound("tiny_xlmr");
  static const auto tokenizer = promptcache::open_tokenizer(promptcache::ModelDirectory::open(sound.path()));
  if (data[0] % 3 == 0) {
    for (const std::int32_t id : tokenizer->encode(content, 1 << 20).ids) {
      if (id < 0 || static_cast<std::size_t>(id) >= tokenizer->vocabulary_size()) std::abort();
    }
    return 0;
  }
  static const fuzz::Directory damaged("tiny_xlmr");
  static const auto model = promptcache::ModelDirectory::open(damaged.path());
  damaged.remove("sentencepiece.bpe.model");
  const std::string name = data[0] % 3 == 1 ? "sentencepiece.bpe.model" : "tokenizer.json";
  damaged.write(name, content);
  fuzz::errors_only([&] { promptcache::open_tokenizer(model)->encode("how do i reset it? Zürich 你好 Ⅷ", 64); });
  damaged.remove(name);
  return 0;
}
