"""Consumers: typed handlers behind a queue. Subscriptions are declared here and run here."""
