"""The Docker engine as these tests use it: everything bears the name of the run that made it, and goes with it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
RUN = os.getpid()
NAME = "holdover-test"
PREFIX = f"{NAME}-{RUN}"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
# What each program comes in.
PACKAGES = {"debootstrap": "debootstrap", "iptables": "iptables", "tc": "iproute2", "nsenter": "util-linux"}
# Set when this run is to end: whoever waits stops waiting.
ENDING = threading.Event()


class Failed(Exception):
    """A check that did not hold, or a command that failed."""


def demand(holds, what):
    """Fails with these words unless it holds."""
    if not holds:
        raise Failed(what)


def run(command, timeout=120, check=True, **options):
    """Runs a command to its end; gives what it printed on both outputs."""
    done = subprocess.run([str(part) for part in command], timeout=timeout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, **{"env": {**os.environ, "PATH": PATH}, **options})
    if check and done.returncode:
        raise Failed(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def docker(*arguments, timeout=120, check=True):
    """One call of the engine's client."""
    return run(["docker", *arguments], timeout, check).strip()


def inspect(name):
    """What the engine knows of a container or an image."""
    return json.loads(docker("inspect", name))[0]


def wait(seconds):
    """Sleeps; fails when the run ends meanwhile."""
    if ENDING.wait(max(0.0, seconds)):
        raise Failed("ended from outside")


def wait_for(what, seconds, holds, pause=0.1):
    """Waits until something holds; gives how long that took."""
    began = time.monotonic()
    while not holds():
        demand(time.monotonic() - began < seconds, f"not within {seconds} s: {what}")
        wait(pause)
    return time.monotonic() - began


def install():
    """Installs what is missing from Debian."""
    missing = {package for program, package in PACKAGES.items() if not shutil.which(program, path=PATH)}
    if compose() is None:
        missing.add("docker-compose")
    if not missing:
        return
    demand(os.geteuid() == 0, f"missing: {', '.join(sorted(missing))}; install them, or run this as root")
    # RUNLEVEL keeps packages from starting services of their own.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *sorted(missing)]):
        run(["apt-get", "-q", *arguments], 900, env=quiet)


def compose():
    """How Compose is called here; none when it is not."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose", path=PATH) else None


def build(name, dockerfile, context, *arguments):
    """Builds an image of this run; gives its name and how long it took."""
    image, began = f"{PREFIX}-{name}", time.monotonic()
    docker("build", "--force-rm", "-f", dockerfile, "-t", image, *arguments, context, timeout=2400)
    return image, time.monotonic() - began


def _names():
    """The names of all that the engine has, by what removes them."""
    return [(("rm", "--force", "--volumes"), docker("ps", "-a", "--format", "{{.Names}}", check=False).split()),
            (("network", "rm"), docker("network", "ls", "--format", "{{.Name}}", check=False).split()),
            (("volume", "rm"), docker("volume", "ls", "--format", "{{.Name}}", check=False).split()),
            # With an image's untagged parents would go the build cache.
            (("rmi", "--force", "--no-prune"), docker("images", "--format", "{{.Repository}}", check=False).split())]


def remove(of_run):
    """Removes all that one run made, by its names; the build cache and the base images stay."""
    for command, names in _names():
        if mine := sorted({name for name in names if re.match(rf"{NAME}-{of_run}[-_]", name)}):
            docker(*command, *mine, check=False, timeout=300)


def remove_leftovers():
    """Removes what runs left behind that were killed before they could tidy up."""
    found = {match[1] for _, names in _names() for name in names if (match := re.match(rf"{NAME}-(\d+)[-_]", name))}
    for number in found:
        if not pathlib.Path(f"/proc/{number}").exists():
            print(f"containers: removing what run {number} left", file=sys.stderr)
            remove(number)
