"""The pure heart of the cloud: nouns, events, and the function that decides. Standard library only; no clock, no I/O."""
