"""Spark for the engine: the local Spark Connect server, its jars, and sessions on it or on a cluster."""
