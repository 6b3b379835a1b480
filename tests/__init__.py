"""The tests mirror the rooms: what `eventstore/database/` does is tested in `tests/eventstore/database/`.

Beside them are whole flows over HTTP, by subject, against a server in this process (`scenarios/`); servers that are
processes, and what is done to those (`processes/`); the pages in Chromium (`browser/`); programs that are other
people's (`clients/`, with what they are made of in `openid_client/`, `go_clients/` and `java_client/`); the OpenID
Foundation's suite (`conformance/`); the documents (`docs/`); the stored form of every event (`golden/`); and what
the house agreed upon (`test_conventions.py`). Pages here that test nothing are what all of these stand on: `conftest`
and `databases` lend databases, `started` and `fork_server` start processes, `relay`, `small_disk` and `faults` break
things.
"""
