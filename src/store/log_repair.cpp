#include "store/log_repair.hpp"

#include <array>
#include <cstdint>
#include <cstring>

namespace promptcache::store {
namespace {

// Places in the log's head and in the head of each frame, in bytes.
constexpr std::size_t head_bytes = 32;
constexpr std::size_t head_summed = 24;
constexpr std::size_t head_salts = 16;
constexpr std::size_t frame_head_bytes = 24;
constexpr std::size_t frame_summed = 8;  // and the page behind the head
constexpr std::size_t frame_commit = 4;  // pages of the file after this transaction; 0: not its last frame
constexpr std::size_t frame_salts = 8;
constexpr std::size_t frame_sum = 16;
constexpr std::size_t salts_bytes = 8;

std::uint32_t big_endian(const char* bytes) {
  std::uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

struct Sum {
  std::uint32_t first = 0;
  std::uint32_t second = 0;

  bool operator==(const Sum&) const = default;

  static Sum read(const char* bytes) { return {big_endian(bytes), big_endian(bytes + 4)}; }
  void write(char* bytes) const {
    for (int i = 0; i < 4; ++i) {
      bytes[i] = static_cast<char>(first >> (24 - 8 * i));
      bytes[4 + i] = static_cast<char>(second >> (24 - 8 * i));
    }
  }
};

/// What the checksum of a frame is taken of: the words of its parts, in the order of the log's own making.
class Words {
 public:
  Words(char* bytes, std::size_t size, bool big) : big_(big) { parts_[0] = {bytes, size}; }
  Words(char* head, std::size_t head_size, char* page, std::size_t page_size, bool big) : big_(big) {
    parts_ = {Part{head, head_size}, Part{page, page_size}};
  }

  Sum sum(Sum before) const {
    Sum sum = before;
    for (const Part& part : parts_) {
      for (std::size_t i = 0; i + 8 <= part.size; i += 8) {
        sum.first += word(part.bytes + i) + sum.second;
        sum.second += word(part.bytes + i + 4) + sum.first;
      }
    }
    return sum;
  }

  /// Changes the one byte with which the sum becomes `wanted`. Returns how many would do it, and changes none unless
  /// there is just one: a change of a word's last byte has the same effect on the sum every 1536 bytes. The sum is
  /// linear in the words, so each place is a multiplication away; that bytes changed at random seem to be one has a
  /// chance of 2^-43.
  std::size_t correct(Sum before, Sum wanted) const {
    const Sum now = sum(before);
    const Sum change{wanted.first - now.first, wanted.second - now.second};
    Correction found;
    Sum factor_of_second{0, 1};  // what the sums gain from 1 more in the second word of a pair, and in the first
    Sum factor_of_first{1, 1};
    for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
      for (std::size_t pair = part->size / 8; pair-- > 0;) {
        find_in(part->bytes + 8 * pair + 4, factor_of_second, change, found);
        find_in(part->bytes + 8 * pair, factor_of_first, change, found);
        for (Sum* factor : {&factor_of_second, &factor_of_first}) {
          factor->first += factor->second;
          factor->second += factor->first;
        }
      }
    }
    if (found.count == 1) *found.place = found.value;
    return found.count;
  }

 private:
  struct Part {
    char* bytes = nullptr;
    std::size_t size = 0;
  };

  std::uint32_t word(const char* bytes) const {
    if (big_) return big_endian(bytes);
    std::uint32_t value = 0;
    for (int i = 3; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
    return value;
  }

  struct Correction {
    std::size_t count = 0;
    char* place = nullptr;  // the last one found
    char value = 0;
  };

  void find_in(char* bytes, Sum factor, Sum change, Correction& found) const {
    for (int place = 0; place < 4; ++place) {
      const auto old = static_cast<unsigned char>(bytes[place]);
      const int shift = 8 * (big_ ? 3 - place : place);
      for (int value = 0; value < 256; ++value) {
        const std::uint32_t more = static_cast<std::uint32_t>(value - old) << shift;
        if (more * factor.first != change.first || more * factor.second != change.second) continue;
        found = {found.count + 1, bytes + place, static_cast<char>(value)};
      }
    }
  }

  std::array<Part, 2> parts_{};
  bool big_;
};

std::size_t different_bytes(const char* a, const char* b, std::size_t size) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < size; ++i) count += a[i] != b[i] ? 1 : 0;
  return count;
}

/// A log's bytes, its head and its frames: each has words, and a sum stored that the next one's goes on from.
class Log {
 public:
  Log(std::string& bytes, std::size_t page_size) : bytes_(bytes), page_size_(page_size) {
    big_ = (bytes_[3] & 1) != 0;  // the last bit of the magic number tells the order of bytes in a word
  }

  std::size_t frames() const { return (bytes_.size() - head_bytes) / (frame_head_bytes + page_size_); }
  char* salts() { return &bytes_[head_salts]; }
  char* frame(std::size_t index) { return &bytes_[head_bytes + index * (frame_head_bytes + page_size_)]; }

  bool agrees(std::size_t index) { return words(index).sum(sum_before(index)) == Sum::read(frame(index) + frame_sum); }

  /// Whether the head's sum is right, or is so by a byte put right.
  bool mend_head(LogRepair& repair) {
    for (int order = 0; order < 2; ++order) {  // the bit that tells it may be the damaged one
      if (mend({&bytes_[0], head_summed, big_}, {}, &bytes_[head_summed], 0, repair)) return true;
      big_ = !big_;
    }
    return false;
  }
  /// The same of a frame, where the damaged byte may also be one of a few and stay.
  bool mend_frame(std::size_t index, LogRepair& repair) {
    return mend(words(index), sum_before(index), frame(index) + frame_sum, index + 1, repair);
  }

  /// Makes the sums of the first frames what they are of the bytes as they stand.
  void accept(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) words(i).sum(sum_before(i)).write(frame(i) + frame_sum);
  }

 private:
  Words words(std::size_t index) {
    return {frame(index), frame_summed, frame(index) + frame_head_bytes, page_size_, big_};
  }
  Sum sum_before(std::size_t index) {
    return Sum::read(index == 0 ? &bytes_[head_summed] : frame(index - 1) + frame_sum);
  }

  bool mend(const Words& words, Sum before, char* stored, std::size_t next, LogRepair& repair) {
    const Sum computed = words.sum(before);
    if (computed == Sum::read(stored)) return true;
    std::array<char, 8> bytes{};
    computed.write(bytes.data());
    // A byte of the last word changes one byte of the sum, and then only the next frame knows which of the two it was.
    const bool sum_is_right = next < frames() && agrees(next);
    if (different_bytes(bytes.data(), stored, bytes.size()) == 1 && !sum_is_right) {
      std::memcpy(stored, bytes.data(), bytes.size());
      ++repair.corrected;
      return true;
    }
    const std::size_t ways = words.correct(before, Sum::read(stored));
    if (ways == 1) ++repair.corrected;
    if (ways > 1) ++repair.accepted;
    return ways > 0;
  }

  std::string& bytes_;
  std::size_t page_size_;
  bool big_;
};

}  // namespace

LogRepair repair_log(std::string& bytes, std::size_t page_size) {
  LogRepair result;
  if (bytes.size() < head_bytes) return result;
  Log log(bytes, page_size);
  bool sound = log.mend_head(result);
  std::size_t sound_frames = 0;
  std::size_t ends = sound ? 0 : 1;  // of transactions behind the frame at which SQLite stops, its own included
  for (std::size_t i = 0; i < log.frames(); ++i) {
    char* const frame = log.frame(i);
    const std::size_t differing_salts = different_bytes(frame + frame_salts, log.salts(), salts_bytes);
    if (differing_salts > 1) {  // left from an earlier use of the file, or never written
      sound = false;
    } else if (sound && log.mend_frame(i, result)) {
      ++sound_frames;
      if (differing_salts == 1) {
        std::memcpy(frame + frame_salts, log.salts(), salts_bytes);
        ++result.corrected;
      }
    } else {
      sound = false;
      if (big_endian(frame + frame_commit) != 0 && log.agrees(i)) ++ends;
    }
  }
  if (result.accepted > 0) log.accept(sound_frames);
  if (ends > 1) result.lost = ends - 1;
  return result;
}

}  // namespace promptcache::store
