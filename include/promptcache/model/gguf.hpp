#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace promptcache {

/// A value of a GGUF file's metadata; whole numbers of all widths are 64 bits here.
using GgufValue = std::variant<bool, std::uint64_t, std::int64_t, double, std::string, std::vector<std::uint64_t>,
                               std::vector<std::int64_t>, std::vector<double>, std::vector<std::string>>;

/// One tensor of an open file; `data` points into the mapping and lives as long as the file object.
struct GgufTensor {
  std::uint32_t type = 0;          ///< as the format numbers them
  std::vector<std::size_t> shape;  ///< row-major, the contiguous dimension last: the reverse of the file's order
  std::span<const std::byte> data;
};

/// Name of a tensor type, "Q4_K"; "type 99" for one that is not known.
std::string gguf_type_name(std::uint32_t type);

/// A memory-mapped GGUF file (version 2 or 3, little-endian), the layout of llama.cpp, fully checked when opened:
/// counts, texts, types and offsets inside the file. Immutable and safe from many threads.
class GgufFile {
 public:
  /// Throws `Error` naming the file and the offending key or tensor.
  static GgufFile open(const std::string& path);

  GgufFile(GgufFile&&) noexcept;
  GgufFile& operator=(GgufFile&&) noexcept;
  ~GgufFile();

  const std::string& path() const;
  std::uint32_t version() const;
  const std::map<std::string, GgufValue, std::less<>>& metadata() const;
  const std::map<std::string, GgufTensor, std::less<>>& tensors() const;
  bool contains(std::string_view tensor) const;

  /// Metadata of one kind. The first two throw `Error`: not_found for a missing key, format for another kind. Whole
  /// numbers also count as numbers.
  const std::string& text(std::string_view key) const;
  double number(std::string_view key) const;
  double number_or(std::string_view key, double otherwise) const;  ///< throws for another kind only
  /// An array; empty when there is none. Throws `Error(format)` for another kind.
  template <class T>
  std::span<const T> array(std::string_view key) const;

  /// Values of a tensor as f32, row-major: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K. Throws `Error`: not_found for
  /// a missing tensor, mismatch for another shape, unsupported for another type (named), numeric for NaN or infinity.
  std::vector<float> read_f32(std::string_view name, std::span<const std::size_t> shape) const;

 private:
  struct Impl;
  explicit GgufFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace promptcache
