"""The Jupyter side: messages in, pictures out. No torch here; everything about editing is `paint.session`."""
