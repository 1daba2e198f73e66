"""The cloud: organisations share the pool."""
