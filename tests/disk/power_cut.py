"""Cuts an ext4 file system off from its device, once a line arrives: power_cut.py MOUNT

What was not synced is lost, the journal's memory with it, and every access fails from then on, as
far as the file system can tell a power failure. EXT4_IOC_SHUTDOWN of the kernel's uapi/linux/ext4.h
with the flag NOLOGFLUSH.
"""

import fcntl
import os
import struct
import sys

SHUTDOWN = 2 << 30 | 4 << 16 | ord("X") << 8 | 125
NOLOGFLUSH = struct.pack("I", 2)

root = os.open(sys.argv[1], os.O_RDONLY)
print("ready", flush=True)
sys.stdin.readline()
fcntl.ioctl(root, SHUTDOWN, NOLOGFLUSH)
