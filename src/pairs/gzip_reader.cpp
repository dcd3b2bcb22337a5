#include "pairs/gzip_reader.hpp"

#include <zlib.h>

#include <algorithm>
#include <memory>

#include "promptcache/base/error.hpp"
#include "promptcache/base/file.hpp"

namespace promptcache {
namespace {

struct InflateEnd {
  void operator()(z_stream* stream) const { inflateEnd(stream); }
};

std::string inflate_all(const std::string& path, const std::string& packed) {
  z_stream stream{};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) {  // 16: a gzip header is required
    throw Error(ErrorCode::io, {path}, "zlib out of memory", "a decompressor");
  }
  const std::unique_ptr<z_stream, InflateEnd> end(&stream);
  std::string content;
  std::string block(1 << 18, '\0');
  std::size_t taken = 0;
  int status = Z_OK;
  do {
    if (stream.avail_in == 0 && taken < packed.size()) {
      const std::size_t piece = std::min<std::size_t>(packed.size() - taken, 1U << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data() + taken));  // zlib takes no const
      stream.avail_in = static_cast<uInt>(piece);
      taken += piece;
    }
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    status = inflate(&stream, Z_NO_FLUSH);
    content.append(block, 0, block.size() - stream.avail_out);
    if (status == Z_STREAM_END && (stream.avail_in > 0 || taken < packed.size())) {
      status = inflateReset(&stream) == Z_OK ? Z_OK : Z_DATA_ERROR;  // gzip files may be concatenated
    }
  } while (status == Z_OK);
  if (status != Z_STREAM_END) {
    throw Error(ErrorCode::format, {path},
                "a gzip stream that is damaged or cut after " + std::to_string(content.size()) + " bytes of text",
                "a whole gzip file");
  }
  return content;
}

}  // namespace

std::string read_maybe_gzip(const std::string& path) {
  std::string content = read_file(path);
  const bool gzip = content.size() >= 2 && content[0] == '\x1f' && content[1] == '\x8b';
  return gzip ? inflate_all(path, content) : content;
}

}  // namespace promptcache
