"""The log's RFC 6962 Merkle tree in the C2SP formats: it follows the log, and `verifier/` checks it alone."""
