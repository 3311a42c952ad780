"""The toy world the demo generator lives in: procedural scenes and what is trained on them."""
