"""What is measured beside Funclet. Each file is run by itself; `benchmarks.targets` starts them."""
