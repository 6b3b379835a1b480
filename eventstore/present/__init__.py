"""The present as the log proves it: a row is a hint where to look, and the events decide (docs/decisions).

Whoever can write to the database can write a row of a projection, and no row is signed. Whatever decides something
therefore takes nothing from a row but the way to the events: the position of the one that issued a secret, or the
stream that a name or a digest leads to. What is true of it then, and whether it has ended, the fold of that stream
says. A row that leads nowhere, or to something else, counts as no row.

Lists of what somebody is shown, and counts, are read from the rows as they are.
"""
