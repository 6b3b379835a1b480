"""One run of load: what is asked in which order, and what it took of every process that had a part in it."""
