"""Inputs by the million against whatever reads bytes of strangers. `docs/fuzzing.md` tells how.

The rule: a valid event or a typed fault, nothing else; no other exception, no hang, no memory
without bound, and no meaning that depends on how the network cut the bytes.
"""
