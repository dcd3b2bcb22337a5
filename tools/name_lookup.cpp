#include "name_lookup.hpp"

#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace tool {
namespace {

Resolved look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  Resolved result;
  if (const int status = ::getaddrinfo(host.c_str(), nullptr, &hints, &list); status != 0) {
    result.problem = "cannot resolve '" + host + "': " + ::gai_strerror(status);
    return result;
  }
  for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
    char text[NI_MAXHOST];
    if (::getnameinfo(each->ai_addr, each->ai_addrlen, text, sizeof(text), nullptr, 0, NI_NUMERICHOST) != 0) continue;
    if (std::find(result.addresses.begin(), result.addresses.end(), text) == result.addresses.end()) {
      result.addresses.emplace_back(text);
    }
  }
  ::freeaddrinfo(list);
  if (result.addresses.empty()) result.problem = "'" + host + "' has no address";
  return result;
}

struct Shared {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Resolved> result;
};

}  // namespace

Resolved resolve(const std::string& host, std::chrono::steady_clock::time_point deadline) {
  const auto shared = std::make_shared<Shared>();
  std::thread([shared, host] {
    Resolved result = look_up(host);
    const std::lock_guard lock(shared->mutex);
    shared->result = std::move(result);
    shared->changed.notify_one();
  }).detach();
  std::unique_lock lock(shared->mutex);
  shared->changed.wait_until(lock, deadline, [&] { return shared->result.has_value(); });
  if (!shared->result) return {{}, "the name '" + host + "' was not resolved in time"};
  return *shared->result;
}

}  // namespace tool
