"""The GPU backend: .cu sources and what launches them."""
