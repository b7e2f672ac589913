"""`python -m bbo_bench`: the command line."""

from bbo_bench.cli import main

raise SystemExit(main())
