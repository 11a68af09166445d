"""From fitted Gaussians and what they lack to chunks: bricks, levels, rounding, residual samples."""
