"""Strict HTTP/1.1 and WebSocket on asyncio Protocols: server, pooled client, ASGI host.

The room stands on the edge: whatever is ambiguous is refused here, before anything above it
runs. Heads are parsed once (`heads`, `target`), bodies are counted and decoded by us (`bodies`)
and travel as a `Stream` with backpressure both ways. A `Server` turns each request into a
delivery for `core.delivery.dispatch`; a `Pool` is a handler that another server answers.
"""
