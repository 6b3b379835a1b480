"""The auditor's side: checks what a log publishes, with nothing of the server's code.

This room imports no other room of Grantlog (docs/decisions/house/0007). A mistake in how the server builds its tree is
therefore not repeated where the tree is checked. It reads published artefacts only: stored events, tiles, checkpoints,
exports and receipts."""
