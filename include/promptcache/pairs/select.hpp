#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace promptcache {

/// The boundary slice of methods.md A.5: walks the pairs by rising similarity and keeps one whenever its label
/// (positive when >= 0.5) differs from that of the last one kept. The kept pairs alternate, so the AUC of these
/// similarities on them is (n-1)/2n or (n+1)/2n, or 1/2 with odd counts, by construction. Returns positions in order of
/// similarity; equal similarities keep their input order. Throws `Error`: usage for unequal lengths, numeric for NaN or
/// infinity.
std::vector<std::size_t> select_boundary(std::span<const double> similarities, std::span<const double> labels);

}  // namespace promptcache
