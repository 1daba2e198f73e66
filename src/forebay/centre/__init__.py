"""Places to run: the request an engine gets, the engines, and the agent that joins a centre to the cloud."""
