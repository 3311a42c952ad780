"""Pictures: reading and writing them safely, the square that is edited, and how far two are apart."""
