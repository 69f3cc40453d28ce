"""What holds for all tests."""

import asyncio

# Plugins ask for the main thread's event loop. Before one was ever set, Python 3.11 makes one for whoever asks, which
# nobody closes; a warning of that, in whatever test the garbage is collected, would be an error there.
asyncio.set_event_loop(None)
