"""Configuration: the settings, what they must satisfy, and what an installation begins with."""
