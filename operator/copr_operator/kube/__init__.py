"""The one thin Kubernetes client that every process uses: raw JSON in and out, one error type, one 404/409 policy."""
