"""What a protected call costs, beside the libraries that protect the same: `./dev bench policy`."""
