"""The asyncio floor: handlers, deliveries, the compiled stack and its drivers. No network."""
