"""The feed: a random walk, and the background task that stores its trades."""
