"""What the audit answers, whoever asks: a request to `/audit`, or `grantlog audit` on the command line."""
