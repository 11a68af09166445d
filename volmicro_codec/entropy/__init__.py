"""The compiled coders of chunks: what encoding, and its estimates of bits, are made of (libvgm reads)."""
