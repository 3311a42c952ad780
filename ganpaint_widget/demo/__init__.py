"""The demo world: its scenes, its networks and weights, and the recipe that made them."""
