"""The console: its client, which only the one who runs the server makes, and who is signed in to it."""
