"""The compiled coders of chunks, in both directions: what encoding and its estimates of bits are made of."""
