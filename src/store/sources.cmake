set(promptcache_sources database.cpp json_lines.cpp log_repair.cpp memory_store.cpp record.cpp sqlite_store.cpp
                        store_file.cpp table.cpp)
