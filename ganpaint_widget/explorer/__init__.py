"""What the units of a layer mean, without a face."""
