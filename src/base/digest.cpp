#include "promptcache/base/digest.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <vector>

#include "base/hex.hpp"
#include "promptcache/base/error.hpp"

namespace promptcache {

std::string Digest::hex() const { return to_hex(view()); }

std::optional<Digest> Digest::from_hex(std::string_view text) {
  Digest digest;
  const std::optional<std::string> bytes = promptcache::from_hex(text);
  if (!bytes || bytes->size() != digest.bytes.size()) return std::nullopt;
  std::copy(bytes->begin(), bytes->end(), digest.bytes.begin());
  return digest;
}

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

namespace {

void check(int ok) {
  if (ok != 1) throw Error(ErrorCode::io, {"SHA-256"}, "a refusal of OpenSSL", "a working digest");
}

}  // namespace

Sha256::Sha256() : state_(std::make_unique<State>()) {
  // Looked up once: EVP_sha256() would have OpenSSL look for it each time, which takes longer than a digest.
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  check(EVP_DigestInit_ex(state_->context, algorithm, nullptr));
}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::update(std::span<const std::byte> bytes) {
  check(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
  return *this;
}

Sha256& Sha256::update(std::string_view text) { return update(std::as_bytes(std::span(text.data(), text.size()))); }

Sha256& Sha256::field(std::string_view name, std::string_view value) {
  for (std::string_view part : {name, value}) {
    std::array<std::byte, 8> length{};
    for (std::size_t i = 0; i < length.size(); ++i) {
      length[i] = static_cast<std::byte>((static_cast<std::uint64_t>(part.size()) >> (8 * i)) & 0xff);
    }
    update(length);
    update(part);
  }
  return *this;
}

Digest Sha256::finish() {
  Digest digest;
  check(EVP_DigestFinal_ex(state_->context, digest.bytes.data(), nullptr));
  return digest;
}

Digest hmac_sha256(std::string_view secret, std::string_view text) {
  Digest digest;
  unsigned length = 0;
  const auto* message = reinterpret_cast<const unsigned char*>(text.data());
  const unsigned char* made = HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), message, text.size(),
                                   digest.bytes.data(), &length);
  check(made != nullptr && length == digest.bytes.size() ? 1 : 0);
  return digest;
}

Digest sha256(std::string_view text) { return Sha256().update(text).finish(); }

Digest sha256_file(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Closer> file(std::fopen(path.c_str(), "rb"));
  if (!file) throw system_error({path}, errno, "a readable file");
  Sha256 sha;
  std::vector<char> block(1 << 20);
  std::size_t got = 0;
  while ((got = std::fread(block.data(), 1, block.size(), file.get())) > 0) {
    sha.update(std::string_view(block.data(), got));
  }
  if (std::ferror(file.get()) != 0) throw system_error({path}, errno, "a readable file");
  return sha.finish();
}

}  // namespace promptcache
