"""The optimizers of the suite, one folder each; folders `optimizers/` under `$BBO_BENCH_PLUGINS` appear here too."""

from bbo_bench.plugins import local_folders

__path__ += local_folders("optimizer")
