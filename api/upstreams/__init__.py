"""Other OpenID providers at which people of a realm sign in."""
