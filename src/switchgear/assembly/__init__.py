"""Assembly: from a written configuration to a system of processes that keep each other alive.

This room alone names every other one. It stands in three parts: settings (`settings`, `load`,
`secret`), the machinery of processes (`supervisor` and its neighbours `member`, `spawn`, `child`,
`heartbeat`, `restart`, `drain`, `listen`, `runtime`, `control`), and the app with its roles.

    supervisor --- line (inherited socket pair) ---> role process
        | binds the public socket once                 | beats, says ready / degraded
        | publishes who can be reached (topology)      | answers on its control socket
"""
