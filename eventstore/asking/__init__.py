"""How the database is asked, and how long anybody waits for what it says."""
