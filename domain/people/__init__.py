"""What is mailed to people, and what they do with it; the facts stand in the account's stream."""
