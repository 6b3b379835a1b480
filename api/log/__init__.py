"""The transparency log: published to anybody, kept up beside the requests, and asked whether it goes on."""
