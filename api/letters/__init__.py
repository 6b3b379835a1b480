"""Mail to people about their own accounts: put into words when it is sent, in text and HTML, with links here alone."""
