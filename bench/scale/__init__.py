"""Whether a request costs the same when there is more of everything: `./dev bench scale`."""
