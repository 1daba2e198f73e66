"""Laws here simulate whole pipelines: no example has a deadline."""

from hypothesis import settings

settings.register_profile("plan", deadline=None)
settings.load_profile("plan")
