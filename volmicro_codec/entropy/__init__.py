"""What a file's chunks are coded by, as the encoder writes them (libvgm reads)."""
