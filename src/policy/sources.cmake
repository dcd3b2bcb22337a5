set(promptcache_sources cache_policy.cpp calibrated_policy.cpp evidence_model.cpp judge.cpp make_policy.cpp per_entry_policy.cpp threshold_policy.cpp
  verified/account.cpp verified/core.cpp verified/entries.cpp verified/levels.cpp verified/local_rates.cpp
  verified_policy.cpp)
