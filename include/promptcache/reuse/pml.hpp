#pragma once

#include <string>
#include <string_view>

#include "promptcache/reuse/chat_tags.hpp"
#include "promptcache/reuse/schema.hpp"

namespace promptcache::reuse {

/// How PML is read. A run of white space at either end of a text becomes one space, inner white space stays; comments
/// are skipped; <system>, <user> and <assistant> become the pieces of the chat template wherever they stand, so they
/// may be open across modules.
struct PmlOptions {
  ChatTags chat = ChatTags::chatml();
  bool read_files = true;  ///< <module src="FILE">, relative to the PML file; false: refused
};

/// Reads <schema name>: <module name cache src>, <union scaffold>, <parameter name length scaffold>, also written
/// <param name len>, and text. `source` names the text in messages and is what files are relative to. Throws `Error`:
/// format, with line and column, for anything that is no such schema, and what `check` throws.
Schema parse_schema(std::string_view pml, const std::string& source, const PmlOptions& options = {});

/// Reads <prompt schema>: empty elements named after modules, with arguments as attributes and imports of modules
/// inside, and text. Text at the very end is stripped at both ends. Throws likewise.
Prompt parse_prompt(std::string_view pml, const std::string& source, const PmlOptions& options = {});

/// The same from a file. Throws what reading it throws, too.
Schema read_schema(const std::string& path, const PmlOptions& options = {});
Prompt read_prompt(const std::string& path, const PmlOptions& options = {});

}  // namespace promptcache::reuse
