set(promptcache_sources cache_policy.cpp calibrated_policy.cpp make_policy.cpp threshold_policy.cpp)
