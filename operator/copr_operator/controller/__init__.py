"""The controller: kopf as transport, a store, a keyed queue, and executors for what core's plans ask for."""
