// Responses that arrive in parts.
#include <exception>
#include <utility>

#include "cache/core.hpp"
#include "cache/response_stream.hpp"

namespace promptcache {
namespace {

void replay(const Reply& reply, const ChunkCallback& sink) {
  std::string_view rest = reply.response;
  for (const std::uint32_t length : reply.chunks) {
    sink(rest.substr(0, length));
    rest.remove_prefix(std::min<std::size_t>(length, rest.size()));
  }
  if (!rest.empty() || reply.chunks.empty()) sink(rest);
}

}  // namespace

Reply Cache::stream(const Request& request, const std::function<Response(const ChunkCallback&)>& produce,
                    const ChunkCallback& sink) {
  Lookup ticket = lookup(request);
  const auto& flights = core_->flights;
  while (ticket.in_flight()) {
    const auto stream = flights->wait_for_stream(*ticket.state_->seat, ticket.state_->deadline);
    if (!stream) {
      ticket.wait_or_give_up();
      continue;
    }
    cache::ResponseStream::Follower follower(*stream);
    while (const auto chunk = follower.next()) sink(*chunk);
    if (const std::exception_ptr failure = stream->failure()) {
      if (follower.began()) std::rethrow_exception(failure);
      continue;  // perhaps as the one that computes
    }
    Reply reply;
    ticket.wait();
    if (ticket.hit()) return ticket.reply();
    // Complete, and not stored for others: not cacheable, or invalidated meanwhile.
    reply.decision = ticket.decision();
    reply.response = stream->text();
    reply.chunks = stream->chunks();
    reply.outcome = Outcome::coalesced;
    return reply;
  }
  if (ticket.hit()) {
    Reply reply = ticket.reply();
    replay(reply, sink);
    return reply;
  }

  if (ticket.state_->seat) {
    if (const std::exception_ptr failure = flights->failure(*ticket.state_->seat)) std::rethrow_exception(failure);
  }
  Reply reply;
  reply.decision = ticket.decision();
  const auto stream = std::make_shared<cache::ResponseStream>();
  if (ticket.state_->seat) {
    flights->computes_here(*ticket.state_->seat);
    flights->open_stream(*ticket.state_->seat, stream);
  }
  std::exception_ptr sink_failure;
  Response response;
  try {
    response = produce([&](std::string_view chunk) {
      stream->push(chunk);
      if (sink_failure) return;
      try {
        sink(chunk);
      } catch (...) {
        sink_failure = std::current_exception();
        if (!stream->followed()) throw;  // nobody else wants the rest
      }
    });
  } catch (...) {
    stream->fail(std::current_exception());
    share_failure(ticket);
    throw;
  }
  response.text = stream->text();
  response.chunks = stream->chunks();
  reply.response = response.text;
  reply.chunks = response.chunks;
  stream->finish();
  insert(std::move(ticket), std::move(response));
  if (sink_failure) std::rethrow_exception(sink_failure);
  return reply;
}

}  // namespace promptcache
