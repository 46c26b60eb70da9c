# SPDX-License-Identifier: MIT
"""What is measured: the worlds, the rows in them, and the aims that ratios of rows have to meet.

A row is a command for a client in a world (client.c says what they do). All values are such that less is better. Its base
is the row that it is compared with, in the same round.
"""

import dataclasses

SIZES = {"4K": 1 << 12, "2M": 1 << 21, "64M": 1 << 26, "1G": 1 << 30}
WAYS = {"daemon": ("dbus-daemon", "bus"), "broker": ("dbus-broker", "bus"), "direct": ("dbus-daemon", "direct")}
LIVE = (10, 1000, 10000, 100000)

# The ratio of 64 MiB and more is that of the pages, and takes long to measure.
BURST = {"4K": 16, "2M": 16, "64M": 8, "1G": 8}
TOUCH_BURST = {"4K": 16, "2M": 8, "64M": 2, "1G": 1}
MEMORY_FACTOR = 2  # as much memory has to be free, times the row's size

CONFIGURATION = """[Broker]
MaxPendingPerUser=100000
{broker}
[Quota]
MaxAllocations=infinity
[Region dram]
Size={size}
{region}
"""


@dataclasses.dataclass(frozen=True)
class World:
    bus: str = "dbus-daemon"
    broker: str = ""
    region: str = ""
    live: int = 0
    needs: str = ""  # a key of the configuration that the broker has to know


WORLDS = {
    "dbus-daemon": World(),
    "dbus-broker": World(bus="dbus-broker"),
    "asked": World(broker="DecisionCacheSec=0"),
    "warm": World(region="Warm=128M", needs="Warm"),
} | {f"live-{n}": World(live=n) for n in LIVE}


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    world: str
    command: str
    base: str
    title: str
    unit: str = "us"
    user: str = "alice"
    memory: int = 0  # that it uses at a time
    cost: int = 1    # quick runs leave out what is dear

    @property
    def group(self):
        return self.name.split("/")[0]


def memory_rows():
    """Until it is mapped, and until it is touched; and what a program would do instead."""
    for size, number in SIZES.items():
        cost = 1 if number < 1 << 30 else 2
        for way, (world, how) in WAYS.items():
            for depth, burst in (("map", BURST), ("touch", TOUCH_BURST)):
                words = f"{size} {depth} {burst[size]}"
                memory = number if depth == "touch" else 0
                yield Row(f"floor/{way}/{depth}/{size}", world, f"allocate floor@{how} {words}", "unit",
                          "the bare service", memory=memory, cost=cost)
                yield Row(f"broker/{way}/{depth}/{size}", world, f"allocate broker@{how} {words}",
                          f"floor/{way}/{depth}/{size}", "Allocate", memory=memory, cost=cost)
        for kind in ("memfd", "anonymous", "calloc", "hugetlb"):
            yield Row(f"own/{kind}/{size}", "dbus-daemon", f"own {kind} {size} {TOUCH_BURST[size]}",
                      f"own/memfd/{size}", "the process's own, touched", memory=number, cost=cost)


def decision_rows():
    yield Row("decision/polkit", "asked", "decision {subject} only 16", "floor/daemon/map/2M", "polkit asked directly",
              user="daxbroker")
    yield Row("decision/floor", "asked", "decision {subject} floor 16", "floor/daemon/map/2M",
              "polkit asked directly, then the bare service", user="daxbroker")
    yield Row("decision/asked", "asked", "allocate broker@bus 2M map 16", "floor/daemon/map/2M",
              "Allocate, polkit asked each time")
    for way, (world, how) in WAYS.items():
        yield Row(f"decision/granted/{way}", world, f"allocate granted@{how} 2M map 16", f"floor/{way}/map/2M",
                  "Allocate from a grant")
    yield Row("warm/touch/2M", "warm", "warm broker@direct 2M 8", "own/memfd/2M", "Allocate of warm memory")


def many_rows():
    for way, (world, how) in WAYS.items():
        for who in ("floor", "broker", "granted"):
            for n in (1, 8, 64):
                base = f"pipeline/floor/{way}/{n}" if who != "floor" else f"pipeline/floor/{way}/1"
                yield Row(f"pipeline/{who}/{way}/{n}", world, f"pipeline {who}@{how} 2M {n} {{many}}", base,
                          f"each call, {n} without an answer")
            for n in (1, 16, 256):
                base = f"clients/floor/{way}/{n}" if who != "floor" else f"clients/floor/{way}/1"
                yield Row(f"clients/{who}/{way}/{n}", world, f"clients {who}@{how} 2M {n} {{each:{n}}}", base,
                          f"each call, {n} clients", cost=2 if n > 16 else 1)
        for who in ("floor", "broker"):
            yield Row(f"cold/{who}/{way}", world, f"cold {who}@{how} 2M 2",
                      f"cold/floor/{way}" if who == "broker" else "cold/nobody", "a process for it")
    yield Row("cold/nobody", "dbus-daemon", "cold nobody 2M 4", "unit", "a process that asks nobody")


def life_rows():
    for way, (world, how) in WAYS.items():
        floor = f"floor/{way}/map/2M"
        yield Row(f"life/free/{way}", world, f"free broker@{how} 2M 8", floor, "Free, of touched memory")
        yield Row(f"life/let-go/{way}", world, f"let-go broker@{how} 2M 8", floor, "closed, until it is available")
        yield Row(f"life/open/{way}", world, f"open broker@{how} 2M 8", floor, "Open by name, and map")
        yield Row(f"life/connect/{way}", world, f"connect broker@{how} 4", floor, "connect, Version, close")
    yield Row("library/connect", "dbus-daemon", "connect library 4", "life/connect/daemon", "the library's way of that")
    for size in ("4K", "2M"):
        yield Row(f"library/two-lines/{size}", "dbus-daemon", f"two-lines {size} 16", f"floor/daemon/touch/{size}",
                  "alloc, touch, free in a loop")


def mapped_rows():
    for what in ("read", "write", "random-read", "random-write", "chase"):
        for who in ("broker", "own"):
            yield Row(f"mapped/{what}/{who}", "dbus-daemon", f"mapped {who} {what} {{mapped}} 3", f"mapped/{what}/own",
                      "for each MiB" if what in ("read", "write") else "for each access", memory=1 << 28)


def live_rows():
    for n in LIVE:
        world, cost = f"live-{n}", 1 if n <= 1000 else 2
        yield Row(f"live/allocate/{n}", world, "allocate broker@bus 2M map 16", "live/allocate/10", "Allocate", cost=cost)
        yield Row(f"live/list/{n}", world, "list broker@bus 1", "unit", "all pages of ListAllocationsPaged", cost=cost)


# Before and after the rounds.
FINAL = ("live/memory/", "live/restart/")


def final_rows():
    for n in LIVE:
        world, cost = f"live-{n}", 1 if n <= 1000 else 2
        if n > 10:
            yield Row(f"live/memory/{n}", world, "memory", "", "the broker's own, each", unit="B", user="broker", cost=cost)
        yield Row(f"live/restart/{n}", world, "restart", "", "from its start until it answers", user="broker", cost=cost)


CLEANING = {
    "memset": "memset by one thread",
    "clean": "as the broker cleans",
    "stream": "past the caches, all CPUs",
}


def cleaning_rows():
    for name, title in CLEANING.items():
        yield Row(f"cleaning/{name}", "cleaning", name, "cleaning/memset", f"each MiB, {title}")


# Of an emulated machine, by what its case timing calls them.
GUEST = {
    "devdax/broker": ("broker", "guest/devdax/daxctl", "Allocate until it is written to"),
    "devdax/asking": ("asking", "guest/devdax/broker", "polkit's part of that"),
    "devdax/warm": ("warm", "guest/devdax/daxctl", "the same, made ahead, decided before"),
    "devdax/daxctl": ("daxctl", "guest/devdax/by-hand", "daxctl create-device, open"),
    "devdax/by-hand": ("by-hand", "", "the least writes to /sys"),
    "nvdimm/broker": ("pmem-broker", "guest/nvdimm/ndctl", "Allocate until it is written to"),
    "nvdimm/ndctl": ("ndctl", "", "ndctl create-namespace, open"),
    "fsdax/broker": ("files-broker", "guest/fsdax/fallocate", "Allocate until it is written to"),
    "fsdax/fallocate": ("fallocate", "", "a file, fallocate, write"),
}


def guest_rows():
    for name, (case_name, base, title) in GUEST.items():
        yield Row(f"guest/{name}", "guest", case_name, base, title)


def all_rows():
    """In the order of a round: each next to what it is compared with."""
    rows = [Row("unit", "dbus-daemon", "ping 64", "", "64 bytes to a process and back")]
    for part in (memory_rows, decision_rows, many_rows, life_rows, mapped_rows, cleaning_rows, live_rows):
        rows += part()
    return rows


@dataclasses.dataclass(frozen=True)
class Aim:
    text: str
    row: str
    parts: tuple  # rows whose sum it is compared with; "" for a plain number
    most: float
    least: float = 0


AIMS = [
    Aim("Allocate+map 2 MiB, decided before, over dbus-daemon", "broker/daemon/map/2M", ("floor/daemon/map/2M",), 1.4),
    Aim("the same from a grant", "decision/granted/daemon", ("floor/daemon/map/2M",), 1.4),
    Aim("decided before, direct, against the bare service, direct", "broker/direct/map/2M", ("floor/direct/map/2M",), 2.0),
    Aim("decided before, direct, against the bare service on dbus-daemon", "broker/direct/map/2M",
        ("floor/daemon/map/2M",), 0.6),
    Aim("Allocate+map 2 MiB, not decided before", "decision/asked", ("decision/floor",), 1.1),
] + [
    Aim(f"64 calls without an answer, granted, {way}", f"pipeline/granted/{way}/64", (f"pipeline/floor/{way}/64",), 1 / 0.7)
    for way in WAYS
] + [
    Aim("Allocate+touch 2 MiB, warm, direct, against memfd", "warm/touch/2M", ("own/memfd/2M",), 0.15),
    Aim("the same against an anonymous huge page", "warm/touch/2M", ("own/anonymous/2M",), 0.6),
    Aim("devdax in the guest, not warm, against daxctl", "guest/devdax/broker", ("guest/devdax/daxctl",), 1 / 20),
    Aim("devdax in the guest, warm, against daxctl", "guest/devdax/warm", ("guest/devdax/daxctl",), 1 / 50),
    Aim("cleaning against all CPUs past the caches", "cleaning/clean", ("cleaning/stream",), 1 / 0.85),
] + [
    Aim(f"mapped memory, {what}", f"mapped/{what}/broker", (f"mapped/{what}/own",), 1.03, 0.97)
    for what in ("read", "write", "random-read", "random-write", "chase")
] + [
    Aim("Allocate with 100 000 live against 10", "live/allocate/100000", ("live/allocate/10",), 1.2),
    Aim("the broker's memory for each of 100 000, bytes", "live/memory/100000", (), 2048),
    Aim("restart with 100 000 records, us", "live/restart/100000", (), 2e6),
]
