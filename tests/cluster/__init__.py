"""A real local Kubernetes without a container engine, for the integration, load and end-to-end tests."""
