"""The tasks of the suite, one folder each; folders `tasks/` under `$BBO_BENCH_PLUGINS` appear here too."""

from bbo_bench.plugins import local_folders

__path__ += local_folders("task")
