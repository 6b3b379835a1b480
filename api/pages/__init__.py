"""Pages that people see: signing in and out, their account, and how any page is made."""
