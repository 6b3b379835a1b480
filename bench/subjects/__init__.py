"""What is measured, and what it is compared with: databases, servers over them, a constant answer, a token by hand."""
