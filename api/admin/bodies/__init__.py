"""What the administration's bodies are made of: clients, people, and the members that several of them have."""
