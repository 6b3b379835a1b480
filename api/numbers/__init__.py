"""Files that workers have mapped into their memory, so that they survive a full disk."""
