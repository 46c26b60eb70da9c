# SPDX-License-Identifier: MIT
"""For cases in Python: results as lines of TAP, people who use memory (the program tenant), what broker and kernel say.

A case calls check() and skip(), and finish() at the end. An exception that nobody catches is a failed check, too.
"""

import contextlib
import glob
import json
import os
import re
import select
import subprocess
import sys
import time
import traceback

import dbus

TOOLS = "/usr/lib/daxbroker-vm"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNIT = 2 * MIB
REGION = "hmem.0"
DAX_REGION = f"/sys/devices/platform/{REGION}/dax_region"
# Emulated, on a busy host.
PATIENCE = 40


# ---- Results -----------------------------------------------------------------------------------------------------------

class Tap:
    """Counts on where the last case has stopped."""

    FILE = "/run/vm-tap"

    def __init__(self):
        self.count, self.failed = 0, 0
        self.case = os.environ.get("VM_CASE", "")
        if os.path.exists(self.FILE):
            self.count, self.failed = map(int, read(self.FILE).split())

    def result(self, passed, what, detail=""):
        self.count += 1
        self.failed += not passed
        print("ok" if passed else "not ok", self.count, "-", f"{self.case}: {what}" if self.case else what)
        for line in str(detail).splitlines() if not passed else []:
            print("#", line)
        self.save()

    def save(self):
        with open(self.FILE, "w", encoding="ascii") as file:
            file.write(f"{self.count} {self.failed}\n")
        sys.stdout.flush()


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


tap = Tap()
failed_before = tap.failed


def check(what, passed, detail=""):
    """passed may be a function, which passes by returning something true; detail one that is called when it has not."""
    waited, problem = callable(passed), ""
    if waited:
        try:
            passed = passed()
        except (Refused, Wrong, TimeoutError, OSError, subprocess.SubprocessError, dbus.DBusException) as error:
            passed, problem = False, f"{type(error).__name__}: {error}\n"
    if not passed:
        detail = problem + str(detail() if callable(detail) else detail)
        if waited:
            detail += f"\n{regions()}{allocations()}devices: {sized_devices()}\n{broker_log(15)}"
    tap.result(bool(passed), what, detail)
    return bool(passed)


def equal(what, found, expected):
    return check(what, found == expected, f"expected {expected}\nfound    {found}")


def skip(what, why):
    tap.result(True, f"{what} # SKIP {why}")


def note(text):
    for line in str(text).splitlines():
        print("#", line, flush=True)


def finish():
    kernel = kernel_complaints()
    check("the kernel has complained about nothing", kernel == "", kernel)
    Tenant.end_all()
    sys.exit(tap.failed > failed_before)


def on_exception(kind, value, trace):
    detail = "".join(traceback.format_exception(kind, value, trace))
    tap.result(False, "the case comes to its end", detail + broker_log(40))


sys.excepthook = on_exception


def wait_for(condition, seconds=PATIENCE, interval=0.1):
    """Whether it came true."""
    end = time.monotonic() + seconds
    while True:
        if condition():
            return True
        if time.monotonic() > end:
            return False
        time.sleep(interval)


def power_cut(*words):
    """What the next boot needs to know is in os.environ["VM_STATE"] then."""
    tap.save()
    sys.stdout.flush()
    subprocess.run([f"{TOOLS}/power-cut", *map(str, words)], check=False)


# ---- Programs ----------------------------------------------------------------------------------------------------------

def as_user(user, *command):
    return list(command) if user == "root" else [
        "setpriv", "--reuid", user, "--regid", user, "--init-groups", "--inh-caps=-all", *command]


def run(*command, user="root", timeout=PATIENCE, **more):
    """Its output; raises if it fails."""
    done = subprocess.run(as_user(user, *map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, text=True, check=False, **more)
    if done.returncode != 0:
        raise Wrong(f"status {done.returncode} of {' '.join(map(str, command))}:\n{done.stdout}")
    return done.stdout.strip()


def succeeds(*command, **more):
    try:
        run(*command, **more)
        return True
    except (Wrong, subprocess.SubprocessError):
        return False


class Refused(Exception):
    """By the broker or by the kernel; name is what either calls it."""

    def __init__(self, name, text=""):
        super().__init__(f"{name} {text}")
        self.name = name


class Wrong(Exception):
    """Something is not as was said."""


class Piece:
    """What a tenant holds."""

    def __init__(self, tenant, slot, path, length):
        self.tenant, self.slot, self.path, self.length = tenant, slot, path, int(length)

    def __getattr__(self, command):
        """piece.fill(7) is the tenant's command "fill SLOT 7"."""
        if command.startswith("_"):
            raise AttributeError(command)
        return lambda *words: self.tenant.tell(command.replace("_", "-"), self.slot, *words)

    def properties(self):
        return allocation(self.path)

    def probe(self):
        return self.tenant.histogram("probe", self.slot)

    def pin(self, kind, offset=0):
        return Pin(self.tenant, self.tenant.tell("pin", kind, self.slot, offset)[0])


class Pin:
    """References to memory that stay."""

    def __init__(self, tenant, number):
        self.tenant, self.number = tenant, number

    def look(self):
        return self.tenant.histogram("look", self.number)

    def write(self, value):
        self.tenant.tell("write", self.number, value)

    def drop(self):
        self.tenant.tell("unpin", self.number)


class Tenant:
    """A process of a user that does what it is told: see tools/tenant.c."""

    all = []

    def __init__(self, user="alice", command=()):
        self.process = subprocess.Popen(as_user(user, *command, f"{TOOLS}/tenant"), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        Tenant.all.append(self)

    def send(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def receive(self, seconds=PATIENCE):
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise TimeoutError("a tenant does not answer")
        line = self.process.stdout.readline().strip()
        verdict, _, rest = line.partition(" ")
        if verdict == "ok":
            return rest.split()
        if verdict == "no":
            raise Wrong(rest)
        raise Refused(*(rest or "it has died").split(" ", 1))

    def tell(self, *words):
        self.send(*words)
        return self.receive()

    def histogram(self, *words):
        return {key if key == "fault" else int(key, 16): int(count)
                for key, count in (word.split(":") for word in self.tell(*words)) if int(count)}

    @staticmethod
    def request(size, align=1, **options):
        options = {"region": REGION, **options}
        return ["alloc", size, align, *(f"{key.replace('_', '-')}={value}" for key, value in options.items() if value != "")]

    def alloc(self, size, align=1, **options):
        return Piece(self, *self.tell(*self.request(size, align, **options)))

    def open(self, name):
        return Piece(self, *self.tell("open", name))

    def free(self, path):
        self.tell("free", path)

    def kill(self):
        self.process.kill()
        self.process.wait()
        Tenant.all.remove(self)

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        Tenant.all.remove(self)

    @classmethod
    def end_all(cls):
        for tenant in list(cls.all):
            tenant.kill()


def refusal(function, *arguments, **more):
    """The name of the error that it ends with, "" for none."""
    try:
        function(*arguments, **more)
        return ""
    except Refused as error:
        return error.name


# ---- The broker --------------------------------------------------------------------------------------------------------

def systemctl(*words):
    return run("systemctl", *words)


def broker_pid():
    return int(run("systemctl", "show", "--value", "--property", "MainPID", "daxbroker"))


def broker_log(lines=100):
    return subprocess.run(["journalctl", "--quiet", "--output", "cat", "--unit", "daxbroker", "--lines", str(lines)],
                          stdout=subprocess.PIPE, text=True, check=False).stdout


def said(text, since=""):
    run("journalctl", "--sync")
    return text in broker_log(100000)[len(since):]


def kernel_complaints():
    found = subprocess.run(["journalctl", "--quiet", "--dmesg", "--output", "cat", "--grep",
                            r"BUG:|WARNING:|Oops|unaligned vma"],
                           stdout=subprocess.PIPE, text=True, check=False).stdout
    return "\n".join(line for line in found.splitlines() if "unaligned vma" not in line)


def write_configuration(more="", **keys):
    """The region, and more, in place of what was there."""
    os.makedirs("/etc/daxbroker.conf.d", exist_ok=True)
    write("/etc/daxbroker.conf.d/50-test.conf", "\n".join(
        ["[Broker]", f"PolkitTimeoutSec={PATIENCE}", f"[Region {REGION}]", "Provider=devdax",
         *(f"{key}={value}" for key, value in keys.items()), more]))


def configure(more="", **keys):
    """The same, in a broker that has been started anew."""
    write_configuration(more, **keys)
    systemctl("restart", "daxbroker")
    broker_ready()


def broker_ready():
    """Owns its name, and has found the region."""
    def there():
        with contextlib.suppress(dbus.DBusException):
            return region("State") == "usable"
        return False
    if not wait_for(there, 40):
        raise Wrong("region " + REGION + " does not become usable:\n" + regions() + "\n" + broker_log(40))


def regions():
    return subprocess.run(["daxbrokerctl", "regions"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False).stdout


def allocations():
    return subprocess.run(["daxbrokerctl", "list"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False).stdout


def properties_of(path, interface):
    bus = dbus.SystemBus()
    return bus.call_blocking("org.daxbroker1", path, "org.freedesktop.DBus.Properties", "GetAll", "s",
                             (f"org.daxbroker1.{interface}",), timeout=PATIENCE)


def region_path(name):
    return "/org/daxbroker1/region/" + "".join(c if c.isalnum() else f"_{ord(c):02x}" for c in name)


def region(what=None, name=REGION):
    found = properties_of(region_path(name), "Region")
    return found[what] if what else found


def allocation(path):
    return properties_of(path, "Allocation")


def listed():
    """What daxbrokerctl says about the region's allocations."""
    return [each for each in json.loads(run("daxbrokerctl", "list", "--json=short")) if each["region"] == REGION]


def available():
    return int(region("Available"))


def wait_available(bytes_free, seconds=PATIENCE):
    return wait_for(lambda: available() == bytes_free, seconds)


def state_of(path):
    """The allocation's; "" if there is no such allocation. To be asked again and again: daxbrokerctl would keep a processor
    busy."""
    try:
        return str(allocation(path)["State"])
    except dbus.DBusException as error:
        if error.get_dbus_name() != "org.daxbroker1.Error.NoSuchAllocation":
            raise
        return ""


def is_listed(path):
    return state_of(path) != ""


def wait_gone(piece, seconds=PATIENCE):
    return wait_for(lambda: not is_listed(piece.path), seconds)


def wait_state(piece, state, seconds=PATIENCE):
    return wait_for(lambda: state_of(piece.path) == state, seconds)


def let_allocate(*users):
    """These, besides alice."""
    for user in users:
        run("usermod", "-aG", "dax", user)


def take_all(tenant, largest=256 * MIB):
    """As much as is to be had, in pieces that become smaller."""
    pieces, size = [], largest
    while size >= UNIT:
        try:
            pieces.append(tenant.alloc(size))
        except Refused as error:
            if error.name not in ("NoSpace", "QuotaExceeded"):
                raise
            size //= 2
    for piece in pieces:
        piece.map()
    return pieces


def is_zero(pieces):
    """Every byte; raises Wrong and says where it is not."""
    for piece in pieces:
        piece.zero()
    return True


# ---- The kernel --------------------------------------------------------------------------------------------------------

def devices():
    """Those of the region, but the first, which is never used: name to bytes."""
    found = {}
    for path in glob.glob(f"{DAX_REGION}/../dax*.*"):
        name = os.path.basename(path)
        with contextlib.suppress(OSError):
            found[name] = int(read(f"{path}/size"))
    return found


def sized_devices():
    return {name: size for name, size in devices().items() if size}


def kernel_available():
    return int(read(f"{DAX_REGION}/available_size"))


def ranges(device):
    """As the kernel has them: start and length, in the order in which they are mapped."""
    found = []
    for path in sorted(glob.glob(f"/sys/bus/dax/devices/{device}/mapping[0-9]*")):
        start, end = int(read(f"{path}/start"), 16), int(read(f"{path}/end"), 16)
        found.append((int(read(f"{path}/page_offset"), 16), start, end - start + 1))
    return [(start, length) for _, start, length in sorted(found)]


def region_start():
    """Where in physical memory it begins."""
    for line in read("/proc/iomem").splitlines():
        match = re.match(r"\s*([0-9a-f]+)-[0-9a-f]+ : (Soft Reserved|hmem\.0)", line)
        if match:
            return int(match[1], 16)
    return int(os.environ.get("VM_REGION_START", "0x100000000"), 16)


def witness(installed):
    """With or without it; the broker looks at its start."""
    if installed:
        run("systemctl", "unmask", "--runtime", "daxbroker-witness.socket")
        run("systemctl", "start", "daxbroker-witness.socket")
    else:
        subprocess.run(["systemctl", "stop", "daxbroker-witness.socket", "daxbroker-witness.service"],
                       stderr=subprocess.DEVNULL, check=False)
        run("systemctl", "mask", "--runtime", "daxbroker-witness.socket")
    systemctl("restart", "daxbroker")
    broker_ready()


def has_witness():
    return os.path.exists("/usr/lib/systemd/system/daxbroker-witness.socket")
