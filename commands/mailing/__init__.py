"""What is done by mail: links that people follow, and what they are told of their accounts."""
