"""Our own sides of the benchmarks, each as small as its peers'."""
