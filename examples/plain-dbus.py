#!/usr/bin/python3
# SPDX-License-Identifier: MIT

"""Memory from daxbroker without its library: plain D-Bus and Python's own mmap.

Needs python3-dbus. Any language that can receive file descriptors over D-Bus can do the same.
"""

import mmap
import os
import sys

import dbus

SIZE = 1 << 20
ALIGNMENT = 4096


def main():
    bus = dbus.SystemBus()
    manager = dbus.Interface(bus.get_object("org.daxbroker1", "/org/daxbroker1"), "org.daxbroker1.Manager")

    # Options such as region, name or mode go into the dictionary; see the interface's documentation.
    path, memory, lease, offset, length = manager.Allocate(
        dbus.UInt64(SIZE), dbus.UInt64(ALIGNMENT), dbus.Dictionary({}, signature="sv")
    )

    # Both descriptors are ours now. The first reaches the memory, the second, the lease, keeps it alive: when the
    # last copy of it is closed, in any process, the memory goes back.
    memory, lease = memory.take(), lease.take()

    with mmap.mmap(memory, int(length), mmap.MAP_SHARED, offset=int(offset)) as mapping:
        if mapping[:] != bytes(len(mapping)):
            sys.exit("the memory is not zeroed")

        mapping[:5] = b"hello"
        print(f"{path}: {length} bytes, now beginning with {mapping[:5]!r}")

    # Closing the lease would do as well. Free ends it for everybody, and has an answer.
    bus.get_object("org.daxbroker1", path).Free(dbus_interface="org.daxbroker1.Allocation")
    os.close(lease)
    os.close(memory)


try:
    main()
except dbus.DBusException as error:
    sys.exit(f"{error.get_dbus_name()}: {error.get_dbus_message()}")
