#include "promptcache/model/gguf.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>
#include <optional>
#include <utility>

#include "base/mapped_file.hpp"
#include "model/gguf_blocks.hpp"
#include "model/tensor_checks.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

constexpr std::size_t most_dimensions = 4;  // the format's own limit

/// Reads the header from front to back; every step is checked against what is left of the file.
class Reader {
 public:
  Reader(const std::string& path, std::span<const std::byte> bytes) : path_(path), bytes_(bytes) {}

  std::size_t position() const { return position_; }

  template <class T>
  T value(const std::string& what) {
    T result{};
    std::memcpy(&result, take(sizeof(T), what).data(), sizeof(T));
    return result;
  }

  std::string text(const std::string& what) {
    const std::span<const std::byte> bytes = take(value<std::uint64_t>("the length of " + what), what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// A count of things of which each takes at least `least` bytes.
  std::size_t count(std::size_t least, const std::string& what) {
    const auto number = value<std::uint64_t>("the number of " + what);
    if (number > (bytes_.size() - position_) / least) {
      throw wrong(std::to_string(number) + " " + what,
                  "as many as the file's " + std::to_string(bytes_.size()) + " bytes can hold");
    }
    return number;
  }

  Error wrong(const std::string& found, const std::string& wanted) const {
    return {ErrorCode::format, {path_}, found, wanted};
  }

 private:
  std::span<const std::byte> take(std::uint64_t size, const std::string& what) {
    if (size > bytes_.size() - position_) {
      throw wrong("the end of the file in " + what + " at byte " + std::to_string(position_),
                  std::to_string(size) + " bytes there");
    }
    const std::span<const std::byte> taken = bytes_.subspan(position_, size);
    position_ += size;
    return taken;
  }

  const std::string& path_;
  std::span<const std::byte> bytes_;
  std::size_t position_ = 0;
};

template <class Stored, class Wide>
std::vector<Wide> wide_array(Reader& reader, std::size_t count, const std::string& key) {
  std::vector<Wide> values;
  values.reserve(count);
  for (std::size_t i = 0; i < count; ++i) values.push_back(static_cast<Wide>(reader.value<Stored>(key)));
  return values;
}

GgufValue read_array(Reader& reader, const std::string& key) {
  const auto type = reader.value<std::uint32_t>("the type of " + key);
  constexpr std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
  if (type >= std::size(sizes) || sizes[type] == 0) {
    throw reader.wrong("an array of type " + std::to_string(type) + " in '" + key + "'",
                       "numbers, truth values or texts");
  }
  const std::size_t count = reader.count(sizes[type], "elements of " + key);
  switch (type) {
    case 0:
    case 7: return wide_array<std::uint8_t, std::uint64_t>(reader, count, key);
    case 1: return wide_array<std::int8_t, std::int64_t>(reader, count, key);
    case 2: return wide_array<std::uint16_t, std::uint64_t>(reader, count, key);
    case 3: return wide_array<std::int16_t, std::int64_t>(reader, count, key);
    case 4: return wide_array<std::uint32_t, std::uint64_t>(reader, count, key);
    case 5: return wide_array<std::int32_t, std::int64_t>(reader, count, key);
    case 6: return wide_array<float, double>(reader, count, key);
    case 10: return wide_array<std::uint64_t, std::uint64_t>(reader, count, key);
    case 11: return wide_array<std::int64_t, std::int64_t>(reader, count, key);
    case 12: return wide_array<double, double>(reader, count, key);
    default: break;
  }
  std::vector<std::string> texts;
  texts.reserve(count);
  for (std::size_t i = 0; i < count; ++i) texts.push_back(reader.text(key));
  return texts;
}

GgufValue read_value(Reader& reader, const std::string& key) {
  const auto type = reader.value<std::uint32_t>("the type of " + key);
  const auto whole = [](auto value) { return GgufValue(static_cast<std::uint64_t>(value)); };
  const auto integer = [](auto value) { return GgufValue(static_cast<std::int64_t>(value)); };
  switch (type) {
    case 0: return whole(reader.value<std::uint8_t>(key));
    case 1: return integer(reader.value<std::int8_t>(key));
    case 2: return whole(reader.value<std::uint16_t>(key));
    case 3: return integer(reader.value<std::int16_t>(key));
    case 4: return whole(reader.value<std::uint32_t>(key));
    case 5: return integer(reader.value<std::int32_t>(key));
    case 6: return static_cast<double>(reader.value<float>(key));
    case 7: return reader.value<std::uint8_t>(key) != 0;
    case 8: return reader.text(key);
    case 9: return read_array(reader, key);
    case 10: return whole(reader.value<std::uint64_t>(key));
    case 11: return integer(reader.value<std::int64_t>(key));
    case 12: return reader.value<double>(key);
    default: break;
  }
  throw reader.wrong("type " + std::to_string(type) + " of '" + key + "'", "a type from 0 to 12");
}

/// Bytes of a tensor, if its rows are whole blocks and it fits into memory.
std::optional<std::size_t> bytes_of(const GgufBlock& block, const std::vector<std::size_t>& shape) {
  std::size_t count = 1;
  for (const std::size_t size : shape) {
    if (__builtin_mul_overflow(count, size, &count)) return {};
  }
  const std::size_t row = shape.empty() ? 1 : shape.back();
  if (row % block.values != 0 || __builtin_mul_overflow(count / block.values, block.bytes, &count)) return {};
  return count;
}

}  // namespace

struct GgufFile::Impl {
  std::string path;
  MappedFile mapping;
  std::uint32_t version = 0;
  std::map<std::string, GgufValue, std::less<>> metadata;
  std::map<std::string, GgufTensor, std::less<>> tensors;

  explicit Impl(const std::string& file) : path(file), mapping(file, "a readable GGUF file") {
    Reader reader(path, mapping.bytes());
    constexpr std::uint32_t magic = 0x46554747;  // "GGUF"
    if (mapping.bytes().size() < 4 || reader.value<std::uint32_t>("the first four bytes") != magic) {
      throw reader.wrong("a file of " + std::to_string(mapping.bytes().size()) + " bytes that does not begin with GGUF",
                         "a GGUF file");
    }
    version = reader.value<std::uint32_t>("the version");
    if (version != 2 && version != 3) {
      throw Error(ErrorCode::unsupported, {path}, "GGUF version " + std::to_string(version), "2 or 3, little-endian");
    }
    const std::size_t tensor_count = reader.count(24, "tensors");
    const std::size_t key_count = reader.count(13, "metadata keys");
    for (std::size_t i = 0; i < key_count; ++i) {
      const std::string key = reader.text("a metadata key");
      if (!metadata.try_emplace(key, read_value(reader, key)).second) {
        throw reader.wrong("'" + key + "' twice", "each metadata key once");
      }
    }
    read_tensors(reader, tensor_count);
  }

  void read_tensors(Reader& reader, std::size_t count) {
    struct Entry {
      std::string name;
      GgufTensor tensor;
      std::uint64_t offset;
    };
    std::vector<Entry> entries;
    for (std::size_t i = 0; i < count; ++i) {
      Entry& entry = entries.emplace_back(Entry{reader.text("a tensor's name"), {}, 0});
      const std::string what = "tensor '" + entry.name + "'";
      const auto dimensions = reader.value<std::uint32_t>(what);
      if (dimensions > most_dimensions) {
        throw reader.wrong(std::to_string(dimensions) + " dimensions of " + what, "at most 4");
      }
      for (std::uint32_t d = 0; d < dimensions; ++d) entry.tensor.shape.push_back(reader.value<std::uint64_t>(what));
      std::reverse(entry.tensor.shape.begin(), entry.tensor.shape.end());
      entry.tensor.type = reader.value<std::uint32_t>(what);
      entry.offset = reader.value<std::uint64_t>(what);
    }
    const std::uint64_t alignment = read_alignment(reader);
    const std::uint64_t begin = (reader.position() + alignment - 1) / alignment * alignment;
    const std::span<const std::byte> bytes = mapping.bytes();
    const std::span<const std::byte> data = bytes.subspan(std::min<std::uint64_t>(begin, bytes.size()));
    for (Entry& entry : entries) {
      place(reader, entry.name, entry.tensor, entry.offset, data, alignment);
      if (!tensors.try_emplace(entry.name, std::move(entry.tensor)).second) {
        throw reader.wrong("tensor '" + entry.name + "' twice", "each tensor once");
      }
    }
  }

  std::uint64_t read_alignment(const Reader& reader) const {
    const auto found = metadata.find("general.alignment");
    if (found == metadata.end()) return 32;
    const auto* value = std::get_if<std::uint64_t>(&found->second);
    if (value == nullptr || *value == 0 || *value > (1U << 20)) {
      throw reader.wrong("general.alignment out of range", "a number of bytes from 1 to 1 MiB");
    }
    return *value;
  }

  /// Finds the data of one tensor; that of an unknown type stays empty, since its size is not known.
  static void place(const Reader& reader, const std::string& name, GgufTensor& tensor, std::uint64_t offset,
                    std::span<const std::byte> data, std::uint64_t alignment) {
    const GgufBlock* block = gguf_block(tensor.type);
    if (block == nullptr) return;
    const std::string what = "tensor '" + name + "'";
    const std::optional<std::size_t> bytes = bytes_of(*block, tensor.shape);
    if (!bytes) {
      throw reader.wrong("shape " + shape_text(tensor.shape) + " of " + what,
                         "rows of whole blocks of " + std::to_string(block->values) + " values for " + block->name);
    }
    if (offset % alignment != 0 || offset > data.size() || *bytes > data.size() - offset) {
      throw reader.wrong(what + " of " + std::to_string(*bytes) + " bytes at " + std::to_string(offset),
                         "a place inside the " + std::to_string(data.size()) +
                             " bytes of data that the file has, aligned to " + std::to_string(alignment));
    }
    tensor.data = data.subspan(offset, *bytes);
  }

  template <class T>
  const T* find(std::string_view key, const char* kind) const {
    const auto found = metadata.find(key);
    if (found == metadata.end()) return nullptr;
    const T* value = std::get_if<T>(&found->second);
    if (value == nullptr) throw Error(ErrorCode::format, {path}, "'" + std::string(key) + "' of another kind", kind);
    return value;
  }
};

std::string gguf_type_name(std::uint32_t type) {
  const GgufBlock* block = gguf_block(type);
  return block != nullptr ? block->name : "type " + std::to_string(type);
}

GgufFile GgufFile::open(const std::string& path) { return GgufFile(std::make_unique<Impl>(path)); }

GgufFile::GgufFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GgufFile::GgufFile(GgufFile&&) noexcept = default;
GgufFile& GgufFile::operator=(GgufFile&&) noexcept = default;
GgufFile::~GgufFile() = default;

const std::string& GgufFile::path() const { return impl_->path; }
std::uint32_t GgufFile::version() const { return impl_->version; }
const std::map<std::string, GgufValue, std::less<>>& GgufFile::metadata() const { return impl_->metadata; }
const std::map<std::string, GgufTensor, std::less<>>& GgufFile::tensors() const { return impl_->tensors; }
bool GgufFile::contains(std::string_view tensor) const { return impl_->tensors.find(tensor) != impl_->tensors.end(); }

const std::string& GgufFile::text(std::string_view key) const {
  if (const auto* value = impl_->find<std::string>(key, "a text")) return *value;
  throw Error(ErrorCode::not_found, {path()}, "no metadata '" + std::string(key) + "'", "a text");
}

double GgufFile::number_or(std::string_view key, double otherwise) const {
  const auto found = impl_->metadata.find(key);
  if (found == impl_->metadata.end()) return otherwise;
  if (const auto* whole = std::get_if<std::uint64_t>(&found->second)) return static_cast<double>(*whole);
  if (const auto* integer = std::get_if<std::int64_t>(&found->second)) return static_cast<double>(*integer);
  return *impl_->find<double>(key, "a number");
}

double GgufFile::number(std::string_view key) const {
  const double value = number_or(key, std::nan(""));
  if (!std::isnan(value)) return value;
  throw Error(ErrorCode::not_found, {path()}, "no metadata '" + std::string(key) + "'", "a number");
}

template <class T>
std::span<const T> GgufFile::array(std::string_view key) const {
  const auto* values = impl_->find<std::vector<T>>(key, "an array of another element type");
  return values != nullptr ? std::span<const T>(*values) : std::span<const T>();
}
template std::span<const std::uint64_t> GgufFile::array(std::string_view) const;
template std::span<const std::int64_t> GgufFile::array(std::string_view) const;
template std::span<const double> GgufFile::array(std::string_view) const;
template std::span<const std::string> GgufFile::array(std::string_view) const;

std::vector<float> GgufFile::read_f32(std::string_view name, std::span<const std::size_t> shape) const {
  const auto found = impl_->tensors.find(name);
  if (found == impl_->tensors.end()) {
    throw Error(ErrorCode::not_found, {path()}, "no tensor '" + std::string(name) + "'", "one of that name");
  }
  const GgufTensor& tensor = found->second;
  const Where where{path() + ": tensor '" + std::string(name) + "'"};
  if (!std::equal(shape.begin(), shape.end(), tensor.shape.begin(), tensor.shape.end())) {
    throw Error(ErrorCode::mismatch, where, "shape " + shape_text(tensor.shape), shape_text(shape));
  }
  const GgufBlock* block = gguf_block(tensor.type);
  if (block == nullptr || block->decode == nullptr) {
    throw Error(ErrorCode::unsupported, where, gguf_type_name(tensor.type),
                "F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K or Q6_K");
  }
  const std::size_t count = tensor.data.size() / block->bytes;
  std::vector<float> values(count * block->values);
  for (std::size_t i = 0; i < count; ++i) {
    block->decode(tensor.data.data() + i * block->bytes, values.data() + i * block->values);
  }
  require_finite(where, values);
  return values;
}

}  // namespace promptcache
