"""What holds for all tests."""

import signal

from hypothesis import HealthCheck, settings

# A shell starts what it puts into the background deaf to Ctrl-C, and that is inherited: programs under test must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How fast examples are drawn and run depends on what else the machine does: that is no failure of a test.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")
