"""The pure floor: calls, faults, verdicts, and the machines that protect. No I/O, no clock."""
