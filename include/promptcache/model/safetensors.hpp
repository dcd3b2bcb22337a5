#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace promptcache {

/// Element type of a stored tensor, as named in the header.
enum class TensorType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

/// One tensor of an open file; `data` points into the mapping and lives as long as the file object.
struct TensorView {
  TensorType type = TensorType::f32;
  std::vector<std::size_t> shape;
  std::span<const std::byte> data;
};

/// A memory-mapped safetensors file, fully checked when opened: header length, JSON, types, shapes,
/// offsets (inside the file, not overlapping, no holes). Immutable and safe from many threads.
class SafetensorsFile {
 public:
  /// Throws `Error` naming the file and the offending tensor.
  static SafetensorsFile open(const std::string& path);

  SafetensorsFile(SafetensorsFile&&) noexcept;
  SafetensorsFile& operator=(SafetensorsFile&&) noexcept;
  ~SafetensorsFile();

  const std::string& path() const;
  const std::map<std::string, TensorView, std::less<>>& tensors() const;
  const std::map<std::string, std::string>& metadata() const;  ///< the "__metadata__" texts
  bool contains(std::string_view name) const;

  /// Values of an F32, F16 or BF16 tensor as f32, row-major. Throws `Error`: not_found for a missing
  /// tensor, mismatch for another shape, unsupported for another type, numeric for NaN or infinity.
  std::vector<float> read_f32(std::string_view name, std::span<const std::size_t> shape) const;

  /// The values of an F32 tensor where they are in the mapping, unchecked for NaN; nothing for another type, or one
  /// that is not aligned in the file. Throws `Error`: not_found, mismatch.
  std::span<const float> mapped_f32(std::string_view name, std::span<const std::size_t> shape) const;

 private:
  const TensorView& tensor(std::string_view name, std::span<const std::size_t> shape) const;

  struct Impl;
  explicit SafetensorsFile(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// A tensor to write; `values` has as many elements as the product of `shape`.
struct NamedTensor {
  std::string name;
  std::vector<std::size_t> shape;
  std::span<const float> values;
};

/// Writes F32 tensors so that either the complete new file or the old one is there afterwards (written
/// beside it, flushed to disk, renamed). Same input, same bytes. Throws `Error(io)` naming the path.
void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace promptcache
