"""Use cases that concern what stands outside the database."""
