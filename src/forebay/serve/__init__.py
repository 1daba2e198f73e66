"""Answering: endpoints of served models."""
