"""The OpenID Foundation's plans against this server. The suite itself and what surrounds it are not here."""
