"""The same load on node-oidc-provider, the fastest durable peer, beside Grantlog on the same PostgreSQL."""
