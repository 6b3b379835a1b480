"""The parts of the full benchmark. Each has a `NAME`, a `TITLE` and `measure(stage)`, and can be run alone."""
