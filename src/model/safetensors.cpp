#include "promptcache/model/safetensors.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/mapped_file.hpp"
#include "model/half.hpp"
#include "model/json_file.hpp"
#include "model/tensor_checks.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {
namespace {

constexpr std::size_t length_bytes = 8;            // the header's length, little-endian, in front of it
constexpr std::size_t longest_header = 100 << 20;  // the format's own limit

struct TypeName {
  TensorType type;
  const char* name;
  std::size_t bytes;
};
constexpr TypeName type_names[] = {
    {TensorType::f64, "F64", 8},      {TensorType::f32, "F32", 4}, {TensorType::f16, "F16", 2},
    {TensorType::bf16, "BF16", 2},    {TensorType::i64, "I64", 8}, {TensorType::i32, "I32", 4},
    {TensorType::i16, "I16", 2},      {TensorType::i8, "I8", 1},   {TensorType::u8, "U8", 1},
    {TensorType::boolean, "BOOL", 1},
};

const char* name_of(TensorType type) {
  for (const TypeName& entry : type_names) {
    if (entry.type == type) return entry.name;
  }
  return "?";
}

/// Parses the header, refusing a tensor that is named twice (a plain parse would keep the last one silently).
Json parse_header(const std::string& path, std::string_view text) {
  std::set<std::string> seen;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > deepest_json) throw Error(ErrorCode::format, {path}, "a deeply nested header", "a safetensors file");
    if (event == Json::parse_event_t::key && depth == 1 && !seen.insert(value.get<std::string>()).second) {
      throw Error(ErrorCode::format, {path}, "tensor '" + value.get<std::string>() + "' twice", "each tensor once");
    }
    return true;
  };
  const Json header = Json::parse(text.begin(), text.end(), watch, false);
  if (!header.is_object())
    throw Error(ErrorCode::format, {path}, "a header that is no JSON object", "a safetensors file");
  return header;
}

struct Extent {
  std::size_t begin;
  std::size_t end;
  std::string name;
};

/// Checks one entry of the header and returns its view; `data` is what follows the header.
TensorView view_of(const std::string& path, const std::string& name, const Json& entry, std::span<const std::byte> data,
                   Extent& extent) {
  const Where where{path + ": tensor '" + name + "'"};
  const auto wrong = [&](const std::string& found, const std::string& wanted) {
    return Error(ErrorCode::format, where, found, wanted);
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) {
    throw wrong("entry " + entry.dump().substr(0, 80), "dtype, shape and data_offsets");
  }
  TensorView view;
  std::size_t bytes = 0;
  for (const TypeName& type : type_names) {
    if (entry["dtype"] == type.name) {
      view.type = type.type;
      bytes = type.bytes;
    }
  }
  if (bytes == 0) {
    throw Error(ErrorCode::unsupported, where, "dtype " + entry["dtype"].dump(),
                "F64, F32, F16, BF16, I64, I32, I16, I8, U8 or BOOL");
  }
  if (!entry["shape"].is_array()) throw wrong("shape " + entry["shape"].dump().substr(0, 80), "a list of sizes");
  for (const Json& size : entry["shape"]) {
    if (!size.is_number_unsigned()) throw wrong("size " + size.dump().substr(0, 80), "a whole number, not negative");
    view.shape.push_back(size.get<std::size_t>());
    if (__builtin_mul_overflow(bytes, view.shape.back(), &bytes)) {
      throw wrong("shape " + entry["shape"].dump().substr(0, 80), "a tensor that fits into memory");
    }
  }
  const Json& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    throw wrong("data_offsets " + offsets.dump().substr(0, 80), "two whole numbers");
  }
  extent = {offsets[0].get<std::size_t>(), offsets[1].get<std::size_t>(), name};
  if (extent.begin > extent.end || extent.end > data.size()) {
    throw wrong("data_offsets " + offsets.dump(),
                "a range inside the " + std::to_string(data.size()) + " bytes of data that the file has");
  }
  if (extent.end - extent.begin != bytes) {
    throw wrong(std::to_string(extent.end - extent.begin) + " bytes of data",
                std::to_string(bytes) + " for " + name_of(view.type) + " " + shape_text(view.shape));
  }
  view.data = data.subspan(extent.begin, bytes);
  return view;
}

}  // namespace

struct SafetensorsFile::Impl {
  std::string path;
  MappedFile mapping;
  std::map<std::string, TensorView, std::less<>> tensors;
  std::map<std::string, std::string> metadata;

  explicit Impl(const std::string& file) : path(file), mapping(file, "a readable safetensors file") {
    const std::span<const std::byte> bytes = mapping.bytes();
    if (bytes.size() < length_bytes) {
      throw Error(ErrorCode::format, {path}, "a file of " + std::to_string(bytes.size()) + " bytes",
                  "a safetensors file (8 bytes of header length first)");
    }
    const auto header_length = load<std::uint64_t>(bytes.data());
    if (header_length > longest_header || header_length > bytes.size() - length_bytes) {
      throw Error(ErrorCode::format, {path}, "a header of " + std::to_string(header_length) + " bytes",
                  "one that fits into the file's " + std::to_string(bytes.size()) + " bytes and 100 MiB");
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + length_bytes, header_length);
    const std::span<const std::byte> data = bytes.subspan(length_bytes + header_length);
    std::vector<Extent> extents;
    const Json header = parse_header(path, text);
    for (const auto& [name, entry] : header.items()) {
      if (name == "__metadata__") {
        if (!entry.is_object())
          throw Error(ErrorCode::format, {path}, "__metadata__ that is no object", "texts by name");
        for (const auto& [key, value] : entry.items()) {
          metadata[key] = value.is_string() ? value.get<std::string>() : value.dump();
        }
        continue;
      }
      Extent extent{};
      tensors.emplace(name, view_of(path, name, entry, data, extent));
      extents.push_back(std::move(extent));
    }
    check_layout(extents, data.size());
  }

  void check_layout(std::vector<Extent>& extents, std::size_t data_size) const {
    std::sort(extents.begin(), extents.end(),
              [](const Extent& a, const Extent& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
    std::size_t end = 0;
    for (const Extent& extent : extents) {
      if (extent.begin != end) {
        throw Error(ErrorCode::format, {path + ": tensor '" + extent.name + "'"},
                    "data at byte " + std::to_string(extent.begin),
                    "byte " + std::to_string(end) + ", where the one before it ends (no overlap, no hole)");
      }
      end = extent.end;
    }
    if (end != data_size) {
      throw Error(ErrorCode::format, {path}, std::to_string(data_size) + " bytes of data",
                  std::to_string(end) + " as the header says");
    }
  }
};

SafetensorsFile SafetensorsFile::open(const std::string& path) { return SafetensorsFile(std::make_unique<Impl>(path)); }

SafetensorsFile::SafetensorsFile(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;
SafetensorsFile::~SafetensorsFile() = default;

const std::string& SafetensorsFile::path() const { return impl_->path; }
const std::map<std::string, TensorView, std::less<>>& SafetensorsFile::tensors() const { return impl_->tensors; }
const std::map<std::string, std::string>& SafetensorsFile::metadata() const { return impl_->metadata; }
bool SafetensorsFile::contains(std::string_view name) const {
  return impl_->tensors.find(name) != impl_->tensors.end();
}

const TensorView& SafetensorsFile::tensor(std::string_view name, std::span<const std::size_t> shape) const {
  const auto found = impl_->tensors.find(name);
  if (found == impl_->tensors.end()) {
    throw Error(ErrorCode::not_found, {path()}, "no tensor '" + std::string(name) + "'", "one of that name");
  }
  const TensorView& view = found->second;
  if (!std::equal(shape.begin(), shape.end(), view.shape.begin(), view.shape.end())) {
    throw Error(ErrorCode::mismatch, {path() + ": tensor '" + std::string(name) + "'"},
                "shape " + shape_text(view.shape), shape_text(shape));
  }
  return view;
}

std::span<const float> SafetensorsFile::mapped_f32(std::string_view name, std::span<const std::size_t> shape) const {
  const TensorView& view = tensor(name, shape);
  const bool aligned = reinterpret_cast<std::uintptr_t>(view.data.data()) % alignof(float) == 0;
  if (view.type != TensorType::f32 || !aligned) return {};
  return {reinterpret_cast<const float*>(view.data.data()), view.data.size() / sizeof(float)};
}

std::vector<float> SafetensorsFile::read_f32(std::string_view name, std::span<const std::size_t> shape) const {
  const TensorView& view = tensor(name, shape);
  const Where where{path() + ": tensor '" + std::string(name) + "'"};
  std::size_t count = 1;
  for (std::size_t size : shape) count *= size;
  std::vector<float> values(count);
  const std::byte* data = view.data.data();
  switch (view.type) {
    case TensorType::f32:
      if (count > 0) std::memcpy(values.data(), data, 4 * count);
      break;
    case TensorType::f16:
      for (std::size_t i = 0; i < count; ++i) values[i] = half_to_float(load<std::uint16_t>(data + 2 * i));
      break;
    case TensorType::bf16:
      for (std::size_t i = 0; i < count; ++i) {
        values[i] = brain_to_float(load<std::uint16_t>(data + 2 * i));
      }
      break;
    default: throw Error(ErrorCode::unsupported, where, std::string("dtype ") + name_of(view.type), "F32, F16 or BF16");
  }
  require_finite(where, values);
  return values;
}

void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::size_t offset = 0;
  for (const NamedTensor& tensor : tensors) {
    std::size_t count = 1;
    for (std::size_t size : tensor.shape) count *= size;
    if (count != tensor.values.size() || header.contains(tensor.name)) {
      throw Error(ErrorCode::usage, {"tensor '" + tensor.name + "'"},
                  std::to_string(tensor.values.size()) + " values for shape " + shape_text(tensor.shape),
                  "as many as the shape holds, under a name used once");
    }
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + 4 * count}}};
    offset += 4 * count;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');  // data starts aligned, as the format asks
  const std::uint64_t length = text.size();
  AtomicFile file(path);
  file.write({reinterpret_cast<const char*>(&length), sizeof(length)});
  file.write(text);
  for (const NamedTensor& tensor : tensors) {
    file.write({reinterpret_cast<const char*>(tensor.values.data()), 4 * tensor.values.size()});
  }
  file.commit();
}

}  // namespace promptcache
