"""The measurements that the documentation quotes. They use the server as anybody can: its command line and HTTP."""
