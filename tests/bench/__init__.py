"""`make bench`: the operator beside bare Jobs and a minimal controller, in one run on one machine (docs/performance.md)."""
