#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <set>

#include "promptcache/base/error.hpp"
#include "promptcache/store/json_lines.hpp"
#include "promptcache/store/sqlite_store.hpp"
#include "tool.hpp"

namespace {

namespace pc = promptcache;

std::shared_ptr<pc::SqliteStore> open(const std::string& path, bool must_exist) {
  if (must_exist && !std::ifstream(path)) throw pc::system_error({path}, errno, "a store");
  const auto log = [](pc::LogLevel, std::string_view text) { std::cerr << text << "\n"; };
  return pc::SqliteStore::open(path, {.limits = {.max_entries = 0, .max_wrong_pairs = 0}, .log = log});
}

int check(const std::string& path) {
  const auto store = open(path, true);
  std::set<pc::Digest> scopes, embedders;
  std::size_t exact_only = 0;
  store->for_each_with_vector([&](const pc::EntryStore::EntryPointer& entry) {
    scopes.insert(entry->scope);
    embedders.insert(entry->embedder);
    exact_only += entry->vector.empty() ? 1 : 0;
  });
  std::printf("%zu entries, %zu of them for exact matches only, in %zu scopes\n", store->size(), exact_only,
              scopes.size());
  for (const pc::Digest& embedder : embedders) std::printf("embedder %s\n", embedder.hex().c_str());
  std::printf("%zu damaged\n", store->damaged_records());
  return store->damaged_records() == 0 ? tool::done : tool::failed;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Looks after the files of SqliteStore. No cache may have the file open.\n"
      "Example: pc-store export --store cache.db --out entries.jsonl",
      "pc-store"};
  std::string store, file;
  const auto add = [&](const char* name, const char* what) {
    CLI::App* command = app.add_subcommand(name, what);
    command->add_option("--store", store, "file of the store")->required();
    return command;
  };
  CLI::App* checking = add("check", "read every record and count what is there; exit code 1 when some are damaged");
  CLI::App* exporting = add("export", "write the entries as lines of JSON");
  exporting->add_option("--out", file, "file to write")->required();
  CLI::App* importing = add("import", "store entries that were exported; the file is made when it is not there");
  importing->add_option("--from", file, "file to read")->required();
  app.require_subcommand(1);
  return tool::run(app, argc, argv, [&]() -> int {
    if (checking->parsed()) return check(store);
    if (exporting->parsed()) {
      const auto opened = open(store, true);
      std::ofstream out(file);
      if (!out) throw pc::system_error({file}, errno, "a file that can be written");
      std::printf("%zu entries written to %s\n", pc::export_entries(*opened, out, file), file.c_str());
    } else if (importing->parsed()) {
      std::ifstream in(file);
      if (!in) throw pc::system_error({file}, errno, "exported entries");
      std::printf("%zu entries stored\n", pc::import_entries(*open(store, false), in, file));
    }
    return tool::done;
  });
}
