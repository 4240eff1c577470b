"""How calls reach a service: `endpoint` says what a call is, `service` whom it is for, `transport` sends it."""
