#include <array>

#include "fuzz.hpp"
#include "promptcache/model/model_directory.hpp"

// The first byte chooses which file of a sound directory has the rest as its content.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Directory directory("tiny_bert");
  static constexpr std::array names = {"config.json",
                                       "modules.json",
                                       "1_Pooling/config.json",
                                       "sentence_bert_config.json",
                                       "config_sentence_transformers.json",
                                       "tokenizer_config.json",
                                       "promptcache.json"};
  if (size == 0) return 0;
  const std::string name = names[data[0] % names.size()];
  const std::string original = std::string(PROMPTCACHE_TEST_DATA) + "/tiny_bert/" + name;
  directory.write(name, fuzz::text_of(data + 1, size - 1));
  fuzz::errors_only([&] { promptcache::ModelDirectory::open(directory.path()); });
  directory.restore(name, original);
  return 0;
}
