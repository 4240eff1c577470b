"""How files of each format are looked at by the worker, and read by Spark."""
