"""What is done by mail: links that people follow, and what they hear about their accounts."""
