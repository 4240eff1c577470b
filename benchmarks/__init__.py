"""Figures, each a ratio against a peer in the same run: `make bench`, `make bench ONLY=ingest`."""
