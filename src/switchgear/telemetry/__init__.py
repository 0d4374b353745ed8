"""Telemetry: what a process says about itself, in log lines and in figures.

Every process keeps plain integers and writes its own lines; nothing here opens a socket. The
supervisor pulls the figures of all processes and merges them (`exposition`), and each log line
is encoded once and leaves in batches on a thread of its own (`writer`), so that a slow reader
of the log costs lines, counted, and never a request.
"""
