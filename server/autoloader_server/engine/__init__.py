"""One run of an ingestion: settle, discover, inspect, claim, stage, audit, publish, record.

docs/exactly-once.md tells the whole of it; each module here is one of its steps.
"""
