"""Read models about people beside their accounts."""
