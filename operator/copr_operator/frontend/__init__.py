"""Copr's API v3 over the Kubernetes API: the unmodified `copr-cli` and `copr` client work against it."""
