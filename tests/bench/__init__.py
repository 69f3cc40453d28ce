"""`make bench`: the operator beside bare Jobs and a minimal controller, in one run (docs/performance.md)."""
