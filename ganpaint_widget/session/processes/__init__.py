"""What a session does in the background."""
