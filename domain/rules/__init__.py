"""The protocol's rules, one per file: pure functions that decisions on several aggregates or endpoints ask."""
