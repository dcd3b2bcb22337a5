set(promptcache_sources)
