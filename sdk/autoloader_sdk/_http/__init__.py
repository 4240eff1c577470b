"""How calls reach a service: `endpoint` says what a call is, `transport` sends it."""
