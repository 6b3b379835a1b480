"""What a person proves who they are with besides a password."""
