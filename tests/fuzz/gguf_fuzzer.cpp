#include "fuzz.hpp"
#include "promptcache/model/gguf.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Directory directory("");
  const std::string path = directory.write("model.gguf", fuzz::text_of(data, size));
  fuzz::errors_only([&] {
    const auto file = promptcache::GgufFile::open(path);
    for (const auto& [name, tensor] : file.tensors()) {
      fuzz::errors_only([&, &wanted = name, &shape = tensor.shape] { file.read_f32(wanted, shape); });
    }
  });
  return 0;
}
