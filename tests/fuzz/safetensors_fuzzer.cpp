#include "fuzz.hpp"
#include "promptcache/model/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Directory directory("");
  const std::string path = directory.write("model.safetensors", fuzz::text_of(data, size));
  fuzz::errors_only([&] {
    const auto file = promptcache::SafetensorsFile::open(path);
    for (const auto& [name, view] : file.tensors()) {
      fuzz::errors_only([&, &tensor = name, &shape = view.shape] { file.read_f32(tensor, shape); });
    }
  });
  return 0;
}
