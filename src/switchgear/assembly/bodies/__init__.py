"""The bodies of the roles: what each process builds from the settings, and runs until drained."""
