"""Requests that wait for a person to decide: rows that are no facts yet, sealed, bounded, and soon gone."""
