"""What the audit answers, no matter who asks: a request to `/audit`, or `grantlog audit` on the command line."""
