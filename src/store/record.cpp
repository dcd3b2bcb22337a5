#include "store/record.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace promptcache::store {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are stored as they are in memory");

constexpr std::size_t sum_bytes = 16;

std::int64_t microseconds(Entry::TimePoint time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

Entry::TimePoint time_of(std::int64_t microseconds) {
  return Entry::TimePoint(
      std::chrono::duration_cast<Entry::TimePoint::duration>(std::chrono::microseconds(microseconds)));
}

constexpr std::int64_t never = 0;  // stored for an entry that does not expire

template <class T>
std::string_view raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

template <class T>
bool read_raw(std::string_view bytes, std::vector<T>& values) {
  values.resize(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return bytes.size() % sizeof(T) == 0;
}

bool read_digest(std::string_view bytes, Digest& digest) {
  if (bytes.size() != digest.bytes.size()) return false;
  std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
  return true;
}

/// Over everything that a row holds.
class RowSum {
 public:
  RowSum& add(std::string_view bytes) {
    hash_.field("", bytes);
    return *this;
  }
  RowSum& add(std::int64_t value) {
    return add(std::string_view(reinterpret_cast<const char*>(&value), sizeof(value)));
  }
  Digest finish() { return hash_.finish(); }

 private:
  Sha256 hash_;
};

}  // namespace

const char* const schema = R"(
create table facts (name text primary key, value integer) without rowid;
create table entries (
  id integer primary key,
  key blob not null,        -- SHA-256 of scope, prompt and embedder; of several rows with one key the last counts
  scope blob not null,      -- SHA-256 of the scope
  fields blob not null,     -- names and beginnings of the scope's values, texts behind their lengths
  prompt text not null,
  response text not null,
  chunks blob not null,     -- lengths of the response's parts, u32 each; empty: one part
  cost real not null,
  tags blob not null,       -- texts behind their lengths
  created integer not null, -- microseconds since 1970
  lifetime integer not null,-- milliseconds; 0: no end
  expires integer not null, -- microseconds since 1970; 0: never
  embedder blob not null,   -- identity of the embedder
  vector blob not null,     -- f32 each; empty: exact matches only
  sum blob not null);       -- first 16 bytes of the SHA-256 of everything before
create table wrong_pairs (request blob not null, entry blob not null, primary key (request, entry));
)";

std::string pack(const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& text : texts) {
    const auto length = static_cast<std::uint32_t>(text.size());
    bytes.append(reinterpret_cast<const char*>(&length), sizeof(length));
    bytes += text;
  }
  return bytes;
}

std::optional<std::vector<std::string>> unpack(std::string_view bytes) {
  std::vector<std::string> texts;
  while (!bytes.empty()) {
    std::uint32_t length = 0;
    if (bytes.size() < sizeof(length)) return std::nullopt;
    std::memcpy(&length, bytes.data(), sizeof(length));
    bytes.remove_prefix(sizeof(length));
    if (bytes.size() < length) return std::nullopt;
    texts.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  return texts;
}

std::string pack(const Entry::Fields& fields) {
  std::vector<std::string> texts;
  for (const auto& [name, value] : fields) texts.insert(texts.end(), {name, value});
  return pack(texts);
}

std::optional<Entry::Fields> unpack_fields(std::string_view bytes) {
  const auto texts = unpack(bytes);
  if (!texts || texts->size() % 2 != 0) return std::nullopt;
  Entry::Fields fields;
  for (std::size_t i = 0; i < texts->size(); i += 2) fields.emplace((*texts)[i], (*texts)[i + 1]);
  return fields;
}

RecordWriter::RecordWriter(Database& database)
    : insert_(database, "insert into entries values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)") {}

void RecordWriter::write(const Entry& entry) {
  const std::string fields = entry.fields ? pack(*entry.fields) : std::string();
  const std::string tags = pack(entry.tags);
  const std::int64_t expires = entry.expires == Entry::TimePoint::max() ? never : microseconds(entry.expires);
  RowSum sum;
  int place = 0;
  const auto number = [&](std::int64_t value) {
    sum.add(value);
    insert_.bind(++place, value);
  };
  const auto blob = [&](std::string_view bytes) {
    sum.add(bytes);
    insert_.bind_blob(++place, bytes);
  };
  const auto text = [&](std::string_view bytes) {
    sum.add(bytes);
    insert_.bind_text(++place, bytes);
  };
  number(static_cast<std::int64_t>(entry.id));
  blob(entry.key.view());
  blob(entry.scope.view());
  blob(fields);
  text(entry.prompt);
  text(entry.response);
  blob(raw(entry.chunks));
  sum.add(std::bit_cast<std::int64_t>(entry.cost));
  insert_.bind(++place, entry.cost);
  blob(tags);
  number(microseconds(entry.created));
  number(static_cast<std::int64_t>(entry.lifetime.count()));
  number(expires);
  blob(entry.embedder.view());
  blob(raw(entry.vector));
  const Digest digest = sum.finish();
  insert_.bind_blob(++place, digest.view().substr(0, sum_bytes));
  insert_.run();
}

RecordReader::RecordReader(Database& database)
    : select_(database,
              "select id, key, scope, fields, prompt, response, chunks, cost, tags, created, lifetime, expires, "
              "embedder, vector, sum from entries where id > ? order by id") {}

void RecordReader::begin_behind(EntryId id) {
  select_.reset();
  select_.bind(1, static_cast<std::int64_t>(id));
}

RecordReader::Result RecordReader::next(Entry& entry) {
  if (!select_.step()) {
    select_.reset();
    return Result::end;
  }
  entry = {};
  RowSum sum;
  int column = 0;
  bool whole = true;
  const auto number = [&] {
    const std::int64_t value = select_.integer(column++);
    sum.add(value);
    return value;
  };
  const auto bytes = [&] {
    const std::string_view value = select_.bytes(column++);
    sum.add(value);
    return value;
  };
  entry.id = static_cast<EntryId>(number());
  whole = read_digest(bytes(), entry.key) && whole;
  whole = read_digest(bytes(), entry.scope) && whole;
  const std::string_view fields = bytes();
  if (!fields.empty() && fields != packed_fields_) {  // mostly the same as in the row before
    auto unpacked = unpack_fields(fields);
    whole = unpacked.has_value() && whole;
    packed_fields_ = fields;
    fields_ = unpacked ? std::make_shared<const Entry::Fields>(std::move(*unpacked)) : nullptr;
  }
  if (!fields.empty()) entry.fields = fields_;
  entry.prompt = bytes();
  entry.response = bytes();
  whole = read_raw(bytes(), entry.chunks) && whole;
  entry.cost = select_.real(column++);
  sum.add(std::bit_cast<std::int64_t>(entry.cost));
  auto tags = unpack(bytes());
  if (tags) entry.tags = std::move(*tags);
  whole = tags.has_value() && whole;
  entry.created = time_of(number());
  entry.lifetime = std::chrono::milliseconds(number());
  const std::int64_t expires = number();
  entry.expires = expires == never ? Entry::TimePoint::max() : time_of(expires);
  whole = read_digest(bytes(), entry.embedder) && whole;
  whole = read_raw(bytes(), entry.vector) && whole;
  const Digest digest = sum.finish();
  whole = select_.bytes(column) == digest.view().substr(0, sum_bytes) && whole;
  return whole ? Result::entry : Result::damaged;
}

}  // namespace promptcache::store
