// Texts that reach a cache from outside: chat requests, exported entries, records of decisions, parameters of policies.
// The first byte says which.
#include <sstream>

#include "fuzz.hpp"
#include "promptcache/cache/chat_request.hpp"
#include "promptcache/cache/decision_record.hpp"
#include "promptcache/store/json_lines.hpp"
#include "promptcache/store/memory_store.hpp"

using namespace promptcache;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string text(fuzz::text_of(data + 1, size - 1));
  fuzz::errors_only([&] {
    switch (data[0] % 4) {
      case 0: ChatRequest::parse(text); break;
      case 1: {
        MemoryStore store;
        std::istringstream in(text);
        import_entries(store, in, "lines");
        std::ostringstream out;
        export_entries(store, out, "out");
        std::istringstream again(out.str());
        import_entries(store, again, "again");
        break;
      }
      case 2: to_json(decision_record_from_json(text, "line")); break;
      default: make_policy(text)->describe(); break;
    }
  });
  return 0;
}
