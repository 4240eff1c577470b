"""The autoloader service: REST API, ledger and engine."""
