"""The console: the live table of a running system on a person's terminal."""
