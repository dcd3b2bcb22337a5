#include "promptcache/index/flat_index.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <shared_mutex>  // shared_lock
#include <unordered_map>

#include "index/candidates.hpp"
#include "index/dot.hpp"
#include "index/exact_rows.hpp"
#include "index/quantize.hpp"
#include "promptcache/base/error.hpp"
#include "promptcache/base/fair_shared_mutex.hpp"

namespace promptcache {
namespace {

/// What a search needs of its own; kept by each thread, so that searches take no memory.
struct Scratch {
  index::CodedQuery query;
  index::Shortlist shortlist;
  std::vector<Candidate> candidates;

  static Scratch& of_thread() {
    thread_local Scratch scratch;
    return scratch;
  }
};

}  // namespace

struct FlatIndex::Impl {
  std::size_t dimension;
  bool exact_in_memory;
  mutable FairSharedMutex mutex;  // of all that follows; rows have no holes: the last one fills a removed one's place
  index::Rows<std::int8_t> codes;
  std::vector<index::CodeScale> scales;
  index::ExactRows exact;
  std::vector<EntryId> ids;
  std::unordered_map<EntryId, std::size_t> row_of;

  Impl(std::size_t width, const VectorStorage& storage)
      : dimension(width),
        exact_in_memory(storage.exact == ExactVectors::in_memory),
        codes(index::code_stride(width)),
        exact(width, storage) {}

  void write(std::size_t row, std::span<const float> vector) {
    scales[row] = index::quantize(vector, codes.row(row));
    exact.write(row, vector);
  }

  /// Offers every row to the shortlist, with the similarity of its codes, that might belong there.
  void scan(const index::CodedQuery& query, index::Shortlist& shortlist) const {
    constexpr std::size_t block = 256;
    std::array<float, block> similarities;
    std::array<float, block> slacks{};
    const std::size_t stride = index::code_stride(dimension);
    std::size_t row = 0;
    for (std::size_t chunk = 0; row < ids.size(); ++chunk) {
      const std::int8_t* rows = codes.chunk(chunk);
      const std::size_t chunk_end = std::min(ids.size(), row + index::RowPlace::rows_of(chunk));
      while (row < chunk_end) {
        const std::size_t count = std::min(block, chunk_end - row);
        index::dot_codes(query.values(), rows, count, stride, similarities.data());
        float highest = std::numeric_limits<float>::lowest();
        for (std::size_t i = 0; i < count; ++i) {
          const index::CodeScale scale = scales[row + i];
          similarities[i] = query.similarity(similarities[i], scale);
          if (exact.kept()) slacks[i] = query.slack(scale);
          highest = std::max(highest, similarities[i] + slacks[i]);
        }
        if (highest >= shortlist.floor()) {
          for (std::size_t i = 0; i < count; ++i) shortlist.offer(row + i, similarities[i], slacks[i]);
        }
        row += count;
        rows += count * stride;
      }
    }
  }
};

FlatIndex::FlatIndex(std::size_t dimension, const VectorStorage& storage) {
  if (dimension == 0) throw Error(ErrorCode::usage, {"dimension"}, "0", "at least 1");
  impl_ = std::make_unique<Impl>(dimension, storage);
}

FlatIndex::~FlatIndex() = default;

std::size_t FlatIndex::dimension() const { return impl_->dimension; }

std::size_t FlatIndex::bytes_per_entry() const {
  constexpr std::size_t records = 64;  // scale, id, the table from entry to row
  return index::code_stride(dimension()) + (impl_->exact_in_memory ? dimension() * sizeof(float) : 0) + records;
}

std::size_t FlatIndex::size() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->ids.size();
}

void FlatIndex::add(EntryId id, std::span<const float> vector) {
  index::check_vector(vector, impl_->dimension);
  const std::unique_lock lock(impl_->mutex);
  if (const auto found = impl_->row_of.find(id); found != impl_->row_of.end()) {
    impl_->write(found->second, vector);
    return;
  }
  const std::size_t row = impl_->ids.size();
  impl_->exact.resize(row + 1);
  impl_->codes.resize(row + 1);
  if (impl_->scales.size() == row) impl_->scales.emplace_back();
  impl_->ids.push_back(id);
  try {
    impl_->row_of.emplace(id, row);
  } catch (...) {
    impl_->ids.pop_back();
    throw;
  }
  impl_->write(row, vector);
}

bool FlatIndex::remove(EntryId id) {
  const std::unique_lock lock(impl_->mutex);
  const auto found = impl_->row_of.find(id);
  if (found == impl_->row_of.end()) return false;
  const std::size_t row = found->second;
  impl_->row_of.erase(found);
  const std::size_t last = impl_->ids.size() - 1;
  if (row != last) {
    impl_->ids[row] = impl_->ids[last];
    impl_->row_of[impl_->ids[row]] = row;
    impl_->scales[row] = impl_->scales[last];
    std::copy_n(impl_->codes.row(last), index::code_stride(impl_->dimension), impl_->codes.row(row));
    if (impl_->exact.kept()) impl_->exact.write(row, {impl_->exact.read(last), impl_->dimension});
  }
  impl_->ids.pop_back();
  impl_->scales.resize(last);
  impl_->codes.resize(last);
  impl_->exact.resize(last);
  return true;
}

std::vector<EntryId> FlatIndex::ids() const {
  const std::shared_lock lock(impl_->mutex);
  return impl_->ids;
}

bool FlatIndex::read(EntryId id, std::span<float> out) const {
  const std::shared_lock lock(impl_->mutex);
  const auto found = impl_->row_of.find(id);
  if (found == impl_->row_of.end()) return false;
  if (impl_->exact.kept()) {
    std::copy_n(impl_->exact.read(found->second), impl_->dimension, out.begin());
  } else {
    index::dequantize(impl_->codes.row(found->second), impl_->scales[found->second], out);
  }
  return true;
}

std::size_t FlatIndex::search(std::span<const float> vector, std::span<Candidate> out) const {
  index::check_vector(vector, impl_->dimension);
  if (out.empty()) return 0;
  Scratch& scratch = Scratch::of_thread();
  scratch.query.assign(vector);
  const std::shared_lock lock(impl_->mutex);
  scratch.shortlist.begin(std::min(out.size(), std::max<std::size_t>(1, impl_->ids.size())));
  impl_->scan(scratch.query, scratch.shortlist);
  scratch.candidates.clear();
  scratch.shortlist.for_each([&](std::size_t row, float highest) {
    float similarity = highest;
    if (impl_->exact.kept()) index::dot_rows(vector.data(), impl_->exact.read(row), 1, impl_->dimension, &similarity);
    scratch.candidates.push_back({impl_->ids[row], similarity});
  });
  return index::write_best(scratch.candidates, out);
}

}  // namespace promptcache
