#include <array>

#include "fuzz.hpp"
#include "promptcache/reuse/decoder_file.hpp"

namespace {

void open_all(const std::string& path) {
  using namespace promptcache;
  fuzz::errors_only([&] {
    const auto file = reuse::DecoderFile::open(path);
    fuzz::errors_only([&] { file.chat(); });
    fuzz::errors_only([&] { file.tokenizer()->encode("It's 12 \n  o'clock, <|im_end|> \xC3\xA9\xFF"); });
    const std::size_t layers = file.config().layers;
    for (int part = 0; part <= static_cast<int>(reuse::DecoderPart::output); ++part) {
      for (const std::size_t layer : {std::size_t{0}, layers - 1}) {
        const auto wanted = static_cast<reuse::DecoderPart>(part);
        fuzz::errors_only([&] {
          if (file.has(wanted, layer)) file.read(wanted, layer);
        });
      }
    }
  });
}

}  // namespace

// The first byte chooses the model, and which file of its directory has the rest as its content; or all is a GGUF file.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::array<fuzz::Directory, 3> directories = {fuzz::Directory("tiny_llama"),
                                                             fuzz::Directory("tiny_gpt2"), fuzz::Directory("tiny_mpt")};
  static constexpr std::array names = {"config.json", "tokenizer.json", "tokenizer_config.json",
                                       "generation_config.json", "model.safetensors.index.json"};
  static constexpr std::array models = {"tiny_llama", "tiny_gpt2", "tiny_mpt"};
  static const bool tokenizers_there = [] {
    for (const fuzz::Directory& directory : directories) {
      std::filesystem::copy_file(std::string(PROMPTCACHE_TEST_DATA) + "/tiny_bpe_llama3.json",
                                 directory.path() + "/tokenizer.json");
    }
    return true;
  }();
  if (!tokenizers_there) return 0;
  if (size == 0) return 0;
  const std::string_view rest = fuzz::text_of(data + 1, size - 1);
  const std::size_t model = data[0] / names.size() % (models.size() + 1);
  if (model == models.size()) {
    const std::string path = directories[0].write("fuzzed.gguf", rest);
    open_all(path);
    return 0;
  }
  const fuzz::Directory& directory = directories[model];
  const std::string name = names[data[0] % names.size()];
  const std::string data_directory = PROMPTCACHE_TEST_DATA;
  const std::string original = name == "tokenizer.json" ? data_directory + "/tiny_bpe_llama3.json"
                                                        : data_directory + "/" + models[model] + "/" + name;
  directory.write(name, rest);
  open_all(directory.path());
  directory.restore(name, original);
  return 0;
}
