"""Going round the read models in a running server: is every row what the log says, and is every row there?

Rows that somebody uses are held against their events when they enter a process's memory. What nobody looks at is found
here, stretch by stretch, at a cost that nobody notices.
"""
