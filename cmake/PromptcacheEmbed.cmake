# Text files that are compiled into the library, so that a program needs no file beside it.

if(CMAKE_SCRIPT_MODE_FILE)
  # At build time: cmake -DINPUT=... -DOUTPUT=... -DFUNCTION=... -DHEADER=... -P PromptcacheEmbed.cmake
  file(READ "${INPUT}" bytes HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
  file(WRITE "${OUTPUT}" "#include \"${HEADER}\"

namespace promptcache::guards {
namespace {

constexpr unsigned char bytes[] = {${bytes}};

}  // namespace

std::string_view ${FUNCTION}() noexcept { return {reinterpret_cast<const char*>(bytes), sizeof bytes}; }

}  // namespace promptcache::guards
")
  return()
endif()

set(promptcache_embed_script "${CMAKE_CURRENT_LIST_FILE}")

# promptcache_embed_guards(target): guards::built_in_list() of data/guards/en.txt.
function(promptcache_embed_guards target)
  set(input "${PROJECT_SOURCE_DIR}/data/guards/en.txt")
  set(output "${CMAKE_CURRENT_BINARY_DIR}/${target}_guards_en.cpp")
  add_custom_command(OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" "-DINPUT=${input}" "-DOUTPUT=${output}" -DFUNCTION=built_in_list
            -DHEADER=policy/guards/lexicon.hpp -P "${promptcache_embed_script}"
    DEPENDS "${input}" "${promptcache_embed_script}" VERBATIM)
  target_sources(${target} PRIVATE "${output}")
endfunction()
