#pragma once

#include <cstddef>

namespace test {

/// How often this executable has taken memory by `new`, for promises that something takes none; 0 under a
/// sanitizer.
std::size_t allocations();

}  // namespace test
