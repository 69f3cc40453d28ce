"""Pure decisions: names, state machine, plans, manifests, failure classes. No I/O, no clock, no event loop."""
