"""Fedora Copr's build service as Kubernetes resources."""

__version__ = "0.1.0"
