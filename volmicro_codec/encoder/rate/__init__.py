"""Rate control: how many Gaussians, at which step, and how the bytes are shared with residual samples."""
