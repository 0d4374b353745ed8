"""The gateway: authenticate, limit, route, balance, break, shed. The one door to the outside."""
