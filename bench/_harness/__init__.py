"""What every benchmark stands on: contenders side by side, in alternating rounds, medians.

`calls` measures coroutines in this process, in nanoseconds per call; `rounds` measures server
processes pinned to one CPU, in CPU microseconds per request of their whole process tree, under a
load pinned to another. Figures compare within one run only: the machine is never the same twice.
"""
