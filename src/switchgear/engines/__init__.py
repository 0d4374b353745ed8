"""Engines: the servers and brokers that stand behind the ports, one room each.

An engine turns a port's verbs into a client library's calls, its exceptions into faults, and its
powers into traits. Only the assembly names an engine.
"""
