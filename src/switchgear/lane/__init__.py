"""The lane: what happens to a message between its publishing and its end, whatever the broker.

`settlement` decides by the outcome (finish, retry, bury, hand back), `envelope` writes what
travels beside the body, `once` runs a handler so that its effect and the message's end commit
together.
"""
