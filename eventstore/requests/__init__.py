"""Requests that wait for what a person decides, as they are kept until then: rows that are no facts."""
