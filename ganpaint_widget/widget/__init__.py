"""The Jupyter side: messages in, pictures out, without torch. `paint.session` does all editing."""
