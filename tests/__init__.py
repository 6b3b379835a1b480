"""The tests mirror the rooms; `scenarios/` holds whole flows over HTTP."""
