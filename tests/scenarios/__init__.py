"""Whole flows over HTTP, in a room for each subject; who plays in several of them stands here.

`world` is the server with its people and clients, `asking` a third party that asks somebody for access, `browser` what
that person has in front of them, `administration` a program that administers, `histories` a past with something of
everything in it. A dashboard is in `dashboards.platform`, a client that signs people in in `openid.relying_party`, who
sits at the console in `console.way_in`. What holds at every endpoint is in `http`, whether a secret stays anywhere in
`secrecy`, and what somebody can do to the database beside the server in `log`.
"""
