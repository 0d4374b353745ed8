"""Identity: who is calling, proven by signatures, and carried inside by our own word.

It stands on the second floor. `keys` and `jwks` hold keys, `tokens` the access tokens that
clients bring, `refresh` the decision on the tokens that renew them, `internal` what a gateway tells
a service, `passwords` the slow hashing. No storage, no HTTP: what must be fetched is fetched by
an injected callable, and wall-clock time is an argument.

Nothing is imported here: a service needs `internal` alone, and the signature libraries behind
`keys` take 0.2 s to load.
"""
