"""Settings for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A shell makes its background programs ignore Ctrl-C, and their children inherit that. Programs under test must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The speed of examples depends on the load of the machine. A slow example must not fail a test.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
