"""What a proxied request costs, beside the proxies of the trade: `./dev bench proxy`."""
