"""A module for each page of the console: its structs, its handlers in `ROUTES`, its place in `NAVIGATION`, and in
`THINGS` the kinds of things that have their page there.
"""
