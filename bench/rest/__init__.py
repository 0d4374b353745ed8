"""What a REST endpoint costs, beside the frameworks that people write it in: `./dev bench rest`."""
