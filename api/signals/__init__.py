"""The transmitter of the Shared Signals Framework: its streams, and how what is told on them goes out."""
