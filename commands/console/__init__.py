"""The console: its client, which only whoever runs the server makes, and who is signed in to it."""
