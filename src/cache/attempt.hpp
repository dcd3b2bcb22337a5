#pragma once

#include <exception>
#include <string>
#include <utility>

namespace promptcache::cache {

/// Calls into a part of the caller's or of ours; false, with what it threw as text, when it failed.
template <class Action>
bool attempt(Action&& action, std::string& what) {
  try {
    std::forward<Action>(action)();
    return true;
  } catch (const std::exception& error) {
    what = error.what();
  } catch (...) {
    what = "an exception of unknown type";
  }
  return false;
}

}  // namespace promptcache::cache
