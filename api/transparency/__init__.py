"""What a server process does for its transparency log: its keys, its tree beside the requests, its witnesses."""
