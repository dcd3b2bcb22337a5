#include "embed/packed_file.hpp"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <string_view>

#include "base/mapped_file.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache::embed {
namespace {

constexpr std::string_view magic = "promptcache packed weights 2\n";
constexpr std::size_t header_size = 4096;  // the weights begin on a page

std::string header_of(const Digest& key, std::span<const std::byte> packed) {
  std::string header(magic);
  header.append(key.view()).append(Sha256().update(packed).finish().view());
  header.resize(header_size, '\0');
  return header;
}

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::optional<Shared<std::byte>> map_packed_weights(const std::string& path, const Digest& key) {
  try {
    const auto file = std::make_shared<const MappedFile>(path, "packed weights");
    const std::span<const std::byte> bytes = file->bytes();
    if (bytes.size() <= header_size) return std::nullopt;
    const std::span<const std::byte> packed = bytes.subspan(header_size);
    if (!text_of(bytes).starts_with(std::string(magic).append(key.view()))) return std::nullopt;
    if (text_of(bytes.first(header_size)) != header_of(key, packed)) return std::nullopt;
    return Shared<std::byte>{file, packed};
  } catch (const std::exception&) {  // none, or not readable
    return std::nullopt;
  }
}

void save_packed_weights(const std::string& path, const Digest& key, std::span<const std::byte> packed) noexcept {
  try {
    AtomicFile file(path);
    file.write(header_of(key, packed));
    file.write(text_of(packed));
    file.commit();
  } catch (const std::exception&) {  // read-only, or full
  }
}

}  // namespace promptcache::embed
