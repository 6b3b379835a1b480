"""The transparency log of stored events: an RFC 6962 Merkle tree, published in the C2SP formats.

The tree follows the log; it never decides what the log holds. Everything here is written once and read by anyone, and
`verifier/` checks it with code of its own.
"""
