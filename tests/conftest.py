"""What holds for all tests."""

import signal

# A shell starts what it puts into the background deaf to Ctrl-C, and that is inherited: programs under test must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
