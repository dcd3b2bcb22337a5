// The decision on a hit as a text: hexadecimal bytes of a fixed layout, with a signature behind them.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/hex.hpp"
#include "cache/core.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {
namespace {

using Record = cache::DecisionLog::Record;

constexpr std::uint8_t version = 1;
constexpr std::size_t signature_bytes = 16;

class Writer {
 public:
  void add(std::uint64_t value) {
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xFF);
  }
  void add(double value) { add(std::bit_cast<std::uint64_t>(value)); }
  void add(const Digest& digest) { bytes += digest.view(); }

  std::string bytes;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < 8; ++i)
      value |= static_cast<std::uint64_t>(static_cast<unsigned char>(rest_[i])) << 8 * i;
    rest_.remove_prefix(8);
    return value;
  }
  double real() { return std::bit_cast<double>(number()); }
  Digest digest() {
    Digest digest;
    std::memcpy(digest.bytes.data(), rest_.data(), digest.bytes.size());
    rest_.remove_prefix(digest.bytes.size());
    return digest;
  }

 private:
  std::string_view rest_;
};

constexpr std::size_t body_bytes = 1 + 1 + 6 * 8 + 2 * 32;

}  // namespace

std::string Cache::Core::token(const Decision& decision) const {
  if (!decision.serve || decision.entry == 0) return "";
  Writer writer;
  writer.bytes += static_cast<char>(version);
  writer.bytes += decision.reason == Reason::similar ? '\1' : '\0';
  writer.add(options.store->instance());
  writer.add(instance);
  writer.add(decision.id);
  writer.add(decision.entry);
  writer.add(decision.similarity);
  writer.add(decision.next_similarity.value_or(std::numeric_limits<double>::quiet_NaN()));
  writer.add(decision.request);
  writer.add(decision.candidate);
  writer.bytes += hmac_sha256(options.secret, writer.bytes).view().substr(0, signature_bytes);
  return to_hex(writer.bytes);
}

bool Cache::Core::report(std::string_view token, Feedback feedback) {
  constexpr const char* place = "decision token";
  const std::optional<std::string> bytes = from_hex(token);
  if (!bytes || bytes->size() != body_bytes + signature_bytes || (*bytes)[0] != static_cast<char>(version)) {
    throw Error(ErrorCode::format, {place}, "a text of another form", "what Cache::token has made");
  }
  const std::string_view body = std::string_view(*bytes).substr(0, body_bytes);
  const Digest signature = hmac_sha256(options.secret, body);
  unsigned difference = 0;  // in a time that does not tell how much of it was right
  for (std::size_t i = 0; i < signature_bytes; ++i) {
    difference |= static_cast<unsigned char>((*bytes)[body_bytes + i]) ^ signature.bytes[i];
  }
  if (difference != 0) throw Error(ErrorCode::mismatch, {place}, "a wrong signature", "one made with our secret");
  Reader reader(body.substr(2));
  if (reader.number() != options.store->instance()) {
    throw Error(ErrorCode::mismatch, {place}, "a decision of a cache on another store", "one on this store");
  }
  Record record;
  record.by_similarity = body[1] != '\0';
  record.cache = reader.number();
  record.id = reader.number();
  record.evidence.entry = reader.number();
  record.evidence.similarity = reader.real();
  if (const double next = reader.real(); !std::isnan(next)) record.evidence.next_similarity = next;
  record.request = reader.digest();
  record.candidate = reader.digest();
  return judge(record, feedback);
}

}  // namespace promptcache
