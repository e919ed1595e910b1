"""Devices: what a process can be made of. One device, one file, and one line in the table of `device.py`."""
