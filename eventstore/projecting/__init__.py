"""Read models: written with the log or following it, rebuilt from it, and compared with it."""
