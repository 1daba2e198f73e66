"""The API, version 1: what tenants, operators and centres ask of the cloud over HTTP.

Each write may carry an `Idempotency-Key`: the same key and body again get the same answer, also after a restart. Each handler
checks who asks, builds one fact, and hands it to the loop; it never changes anything itself. Handlers that walk the tables
are coroutines, so that they run between two events and never while one is folded.
"""
