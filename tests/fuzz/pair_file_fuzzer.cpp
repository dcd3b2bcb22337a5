#include "fuzz.hpp"
#include "promptcache/pairs/pair_file.hpp"

// The bytes as a pair file: TSV, JSON lines or gzip, whichever they look like.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const fuzz::Directory directory("");
  const std::string path = directory.write("pairs", fuzz::text_of(data, size));
  fuzz::errors_only([&] { promptcache::read_pair_file(path); });
  return 0;
}
