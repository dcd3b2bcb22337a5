#include "reuse/kv_file.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "promptcache/base/error.hpp"

namespace promptcache::reuse {
namespace {

static_assert(std::endian::native == std::endian::little, "the file is little-endian");

constexpr char magic[8] = {'p', 'c', 'k', 'v', '\r', '\n', 0x1A, 0};
constexpr std::size_t page = 4096;

/// First page of the file. All numbers little-endian.
struct Header {
  char magic[8];
  std::uint64_t version;
  std::uint64_t layers, kv_heads, head_size, type;
  std::uint64_t units;
  std::uint8_t decoder[32];
  std::uint8_t checksum[32];  // SHA-256 of everything before it
};

/// Entry of the table; all zero: none.
struct Entry {
  std::uint8_t checksum[32];  // SHA-256 of everything behind it
  std::uint8_t key[32], parent[32];
  std::uint8_t states[32];  // SHA-256 of the block's bytes
  std::uint64_t gap;
  double cost;
  std::uint64_t count;
  std::int32_t tokens[KvBlock::most_tokens];
  std::uint8_t unused[104];
};
static_assert(sizeof(Entry) == 512);

Digest digest_of(const void* data, std::size_t size) {
  return Sha256().update({static_cast<const std::byte*>(data), size}).finish();
}
Digest header_checksum(const Header& header) { return digest_of(&header, offsetof(Header, checksum)); }
Digest entry_checksum(const Entry& entry) { return digest_of(entry.key, sizeof(Entry) - offsetof(Entry, key)); }

void put(const Digest& digest, std::uint8_t* to) { std::ranges::copy(digest.bytes, to); }
Digest get(const std::uint8_t* from) {
  Digest digest;
  std::copy_n(from, digest.bytes.size(), digest.bytes.begin());
  return digest;
}
bool same(const Digest& digest, const std::uint8_t* bytes) { return get(bytes) == digest; }

std::size_t up_to_page(std::size_t bytes) { return (bytes + page - 1) / page * page; }

std::size_t unit_bytes(const KvShape& shape) { return KvBlock::bytes_for(shape, KvBlock::granule); }

std::size_t file_bytes(const KvShape& shape, std::size_t units) {
  return page + up_to_page(units * sizeof(Entry)) + units * unit_bytes(shape);
}

}  // namespace

struct KvFile::Mapping {
  const std::byte* data = nullptr;
  std::size_t size = 0;

  Mapping(int descriptor, std::size_t bytes, const std::string& path) : size(bytes) {
    void* at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    if (at == MAP_FAILED) throw system_error({path}, errno, "a file that can be mapped");
    data = static_cast<const std::byte*>(at);
  }
  ~Mapping() { ::munmap(const_cast<std::byte*>(data), size); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
};

KvFile::KvFile(const std::string& path, std::size_t bytes, const KvShape& shape, const Digest& decoder, Access access)
    : path_(path), shape_(shape), decoder_(decoder), access_(access) {
  bool made = false;
  open(made);
  try {
    if (writes() && ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      throw Error(ErrorCode::busy, {path}, "a file that another process writes", "one writer at a time");
    }
    struct stat about {};
    if (::fstat(descriptor_, &about) != 0) throw system_error({path}, errno, "a readable file");
    if (writes() && about.st_size == 0) make(bytes);
    read_table();
  } catch (...) {
    if (made) ::unlink(path.c_str());
    ::close(descriptor_);
    throw;
  }
}

/// Says whether the file was not there before.
void KvFile::open(bool& made) {
  const char* wanted = "a file for attention states";
  if (!writes()) {
    descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  } else {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    made = descriptor_ >= 0;
    if (!made && errno == EEXIST) descriptor_ = ::open(path_.c_str(), O_RDWR | O_CLOEXEC);
  }
  if (descriptor_ < 0) throw system_error({path_}, errno, wanted);
}

KvFile::~KvFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

/// A new file: all of its bytes at once, since a mapped file that grows into a full disk ends the process.
void KvFile::make(std::size_t bytes) {
  const std::size_t per_unit = unit_bytes(shape_) + sizeof(Entry);
  const std::size_t units = bytes > 2 * page ? (bytes - 2 * page) / per_unit : 0;
  if (units < units_for(KvBlock::most_tokens)) {
    throw Error(ErrorCode::usage, {path_}, "a file of " + std::to_string(bytes) + " bytes",
                "room for a block at least, " + std::to_string(4 * per_unit + 2 * page));
  }
  if (const int error = ::posix_fallocate(descriptor_, 0, static_cast<off_t>(file_bytes(shape_, units))); error != 0) {
    ::ftruncate(descriptor_, 0);
    throw system_error({path_}, error, "room for " + std::to_string(file_bytes(shape_, units)) + " bytes");
  }
  Header header{};
  std::memcpy(header.magic, magic, sizeof(magic));
  header.version = 1;
  header.layers = shape_.layers;
  header.kv_heads = shape_.kv_heads;
  header.head_size = shape_.head_size;
  header.type = static_cast<std::uint64_t>(shape_.type);
  header.units = units;
  put(decoder_, header.decoder);
  put(header_checksum(header), header.checksum);
  write_at(&header, sizeof(header), 0);
}

void KvFile::read_table() {
  struct stat about {};
  if (::fstat(descriptor_, &about) != 0) throw system_error({path_}, errno, "a readable file");
  const auto size = static_cast<std::size_t>(about.st_size);
  Header header{};
  const char* wanted = "a file of attention states, version 1";
  if (size < page) throw Error(ErrorCode::format, {path_}, "a file of " + std::to_string(size) + " bytes", wanted);
  mapping_ = std::make_shared<const Mapping>(descriptor_, size, path_);
  std::memcpy(&header, mapping_->data, sizeof(header));
  if (std::memcmp(header.magic, magic, sizeof(magic)) != 0) {
    throw Error(ErrorCode::format, {path_}, "another kind of file", wanted);
  }
  if (header.version != 1) {
    throw Error(ErrorCode::format, {path_}, "version " + std::to_string(header.version), wanted);
  }
  if (!same(header_checksum(header), header.checksum))
    throw Error(ErrorCode::format, {path_}, "a damaged header", wanted);
  const KvShape there{header.layers, header.kv_heads, header.head_size, static_cast<KvType>(header.type)};
  if (there != shape_ || !same(decoder_, header.decoder)) {
    throw Error(ErrorCode::mismatch, {path_}, "states of another decoder, " + get(header.decoder).hex().substr(0, 16),
                decoder_.hex().substr(0, 16) + " in the same number formats");
  }
  if (header.units == 0 || header.units > size || file_bytes(shape_, header.units) > size) {
    throw Error(ErrorCode::format, {path_}, "a file of " + std::to_string(size) + " bytes, cut off",
                std::to_string(header.units) + " units");
  }
  taken_.assign(header.units, false);
  const auto* table = reinterpret_cast<const Entry*>(mapping_->data + page);
  for (std::size_t unit = 0; unit < header.units; ++unit) {
    const Entry& entry = table[unit];
    if (entry.count == 0 || entry.count > KvBlock::most_tokens || unit + units_for(entry.count) > header.units)
      continue;
    if (!same(entry_checksum(entry), entry.checksum)) continue;
    const auto first = taken_.begin() + static_cast<std::ptrdiff_t>(unit);
    const auto end = first + static_cast<std::ptrdiff_t>(units_for(entry.count));
    if (std::find(first, end, true) != end) continue;  // of an entry whose removal was lost
    std::fill(first, end, true);
    found_[unit] = {
        get(entry.key), get(entry.parent), entry.gap, entry.cost, {entry.tokens, entry.tokens + entry.count}};
  }
}

void KvFile::write_at(const void* data, std::size_t size, std::size_t offset) {
  for (std::size_t done = 0; done < size;) {
    const ssize_t count = ::pwrite(descriptor_, static_cast<const std::byte*>(data) + done, size - done,
                                   static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) throw system_error({path_}, count < 0 ? errno : ENOSPC, "states written");
    done += static_cast<std::size_t>(count);
  }
}

std::size_t KvFile::unit_offset(std::size_t unit) const {
  return page + up_to_page(taken_.size() * sizeof(Entry)) + unit * unit_bytes(shape_);
}

std::optional<std::size_t> KvFile::write(const KvRecord& record, const KvBlock& block) {
  const std::size_t count = units_for(record.tokens.size());
  std::size_t unit = 0, free = 0;
  while (free < count) {
    if (unit == taken_.size()) return std::nullopt;
    free = taken_[unit++] ? 0 : free + 1;
  }
  unit -= count;
  // A block with room left over is stored as one that fits: rows keep their places, the space between them goes.
  KvBlock fitting(shape_, record.tokens.size());
  fitting.copy_rows(block, record.tokens.size());
  Entry entry{};
  put(record.key, entry.key);
  put(record.parent, entry.parent);
  put(digest_of(fitting.data(), fitting.bytes()), entry.states);
  entry.gap = record.gap;
  entry.cost = record.cost;
  entry.count = record.tokens.size();
  std::ranges::copy(record.tokens, entry.tokens);
  put(entry_checksum(entry), entry.checksum);
  write_at(fitting.data(), fitting.bytes(), unit_offset(unit));
  write_at(&entry, sizeof(entry), page + unit * sizeof(Entry));
  std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(unit), count, true);
  return unit;
}

std::shared_ptr<const KvBlock> KvFile::map(std::size_t unit, const Digest& key, std::size_t tokens, bool check) const {
  const std::byte* data = mapping_->data + unit_offset(unit);
  const Entry entry = reinterpret_cast<const Entry*>(mapping_->data + page)[unit];
  if (!writes()) {
    if (!same(entry_checksum(entry), entry.checksum) || !same(key, entry.key)) return nullptr;
    auto copy = std::make_shared<KvBlock>(shape_, tokens);
    copy->resize(tokens);
    std::memcpy(copy->keys(0, 0), data, copy->bytes());
    return same(digest_of(copy->data(), copy->bytes()), entry.states) ? copy : nullptr;
  }
  if (check && !same(digest_of(data, KvBlock::bytes_for(shape_, tokens)), entry.states)) return nullptr;
  // The block keeps the mapping; nothing writes through it.
  std::shared_ptr<std::byte> memory(mapping_, const_cast<std::byte*>(data));
  return std::make_shared<const KvBlock>(shape_, tokens, tokens, std::move(memory));
}

void KvFile::erase(std::size_t unit, std::size_t tokens) {
  const Entry none{};
  if (writes()) write_at(&none, sizeof(none), page + unit * sizeof(Entry));
  std::fill_n(taken_.begin() + static_cast<std::ptrdiff_t>(unit), units_for(tokens), false);
}

void KvFile::sync() {
  if (writes() && ::fdatasync(descriptor_) != 0) throw system_error({path_}, errno, "states on the disk");
}

}  // namespace promptcache::reuse
