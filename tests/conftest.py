"""Settings for all tests."""

import signal

# A shell makes its background programs ignore Ctrl-C, and their children inherit that. Programs under test must not.
signal.signal(signal.SIGINT, signal.default_int_handler)
