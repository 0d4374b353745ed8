"""Drills: prove, before production does, what a failure can and cannot take down.

A drill loads a system steadily from outside (`load`), strikes it (`proxy` for the network,
`hazard` for processes), heals it, and judges what it saw by invariants (`run`, `invariant`)
over the load's records and an outside ledger (`ledger`). Each of these is a process of its own, so
that what is struck cannot take its witnesses down. Nothing here imports the rooms it judges.
"""
