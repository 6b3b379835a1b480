"""What is measured, with all that its load needs: clients, a person, and tokens alive and dead."""
