#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>

#include "promptcache/store/entry_store.hpp"

namespace promptcache {

/// Writes every entry as one line of JSON (docs/formats.md), with its vector where the store keeps it. Returns their
/// number. Throws `Error(io)` naming `where` when `out` fails.
std::size_t export_entries(const EntryStore& store, std::ostream& out, const std::string& where);

/// Stores the entries that `export_entries` has written, under new ids; same keys are replaced. To be called before a
/// cache is made on the store. Returns their number. Throws `Error(format)` naming `where` and the line; the lines
/// before it are stored then.
std::size_t import_entries(EntryStore& store, std::istream& in, const std::string& where);

}  // namespace promptcache
