#include <algorithm>

#include "fuzz.hpp"
#include "promptcache/model/model_directory.hpp"
#include "promptcache/text/tokenizer.hpp"

namespace {

/// What holds for every text.
void check_encoding(const promptcache::Tokenizer& tokenizer, std::string_view text) {
  const promptcache::Encoding whole = tokenizer.encode(text, 1 << 20);
  const promptcache::Encoding cut = tokenizer.encode(text, 5);
  bool sound = !whole.truncated() && cut.full_length == whole.full_length && cut.ids.size() <= 5 &&
               std::equal(cut.ids.begin(), cut.ids.end() - 1, whole.ids.begin()) && cut.ids.back() == whole.ids.back();
  for (const std::int32_t id : whole.ids) {
    sound = sound && id >= 0 && static_cast<std::size_t>(id) < tokenizer.vocabulary_size();
  }
  if (!sound) std::abort();
}

}  // namespace

// The first byte chooses: a text for a sound tokenizer, or one of the tokenizer's files.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view content = fuzz::text_of(data + 1, size - 1);
  static const fuzz::Directory sound("tiny_bert");
  static const auto model = promptcache::ModelDirectory::open(sound.path());
  static const auto tokenizer = promptcache::open_tokenizer(model);
  if (data[0] % 2 == 0) {
    check_encoding(*tokenizer, content);
    return 0;
  }
  static const fuzz::Directory damaged("tiny_bert");
  static const auto damaged_model = promptcache::ModelDirectory::open(damaged.path());
  constexpr const char* names[] = {"tokenizer.json", "tokenizer_config.json", "vocab.txt", "added_tokens.json"};
  const std::string name = names[data[0] / 2 % 4];
  damaged.write(name, content);
  fuzz::errors_only([&] {
    const auto opened = promptcache::open_tokenizer(damaged_model);
    check_encoding(*opened, "how do i reset my password? [SEP] Zürich 你好");
  });
  damaged.remove(name);
  if (std::filesystem::exists(sound.path() + "/" + name)) {
    std::filesystem::copy_file(sound.path() + "/" + name, damaged.path() + "/" + name);
  }
  return 0;
}
