"""The demo: an application of somebody else's, which knows the server by its public metadata alone."""
