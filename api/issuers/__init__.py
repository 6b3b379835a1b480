"""One server, many issuers: each with a log, keys, people and clients of its own, found by `Host`."""
