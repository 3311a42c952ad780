"""Training the networks that go with a generator, for any generator."""
