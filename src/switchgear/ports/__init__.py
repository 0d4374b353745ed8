"""Ports: our verbs above the client libraries, about five methods each, and the traits of engines.

An engine implements a port whole and declares its further powers as traits; what a
capability needs is compared at start. The same conformance suite runs on every engine of a port.
"""
