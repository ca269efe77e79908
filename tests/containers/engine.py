"""The Docker engine as these tests use it.

The names of all containers, networks, volumes and images contain the number of the run that made
them, so that each run can remove its own.
"""

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
# The Debian package of each program.
PACKAGES = {"debootstrap": "debootstrap", "iptables": "iptables", "tc": "iproute2", "nsenter": "util-linux"}
# Set when this run has to end; every wait then fails at once.
ENDING = threading.Event()


class Failed(Exception):
    """A check or a command failed."""


def demand(holds, what):
    """Fails with the message `what` unless `holds` is true."""
    if not holds:
        raise Failed(what)


def run(command, timeout=120, check=True, **options):
    """Runs a command to its end, and returns its standard output and standard error."""
    done = subprocess.run([str(part) for part in command], timeout=timeout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, **{"env": {**os.environ, "PATH": PATH}, **options})
    if check and done.returncode:
        raise Failed(f"`{' '.join(map(str, command))}` ended with {done.returncode}:\n{done.stdout[-2000:]}")
    return done.stdout


def docker(*arguments, timeout=120, check=True):
    """Calls the docker command, and returns its output."""
    return run(["docker", *arguments], timeout, check).strip()


def inspect(name):
    """Returns what the engine knows about a container or an image."""
    return json.loads(docker("inspect", name))[0]


def wait(seconds):
    """Sleeps, and fails if the run has to end meanwhile."""
    if ENDING.wait(max(0.0, seconds)):
        raise Failed("ended from outside")


def wait_for(what, seconds, holds, pause=0.1):
    """Waits until a condition holds, and returns how many seconds that took."""
    began = time.monotonic()
    while not holds():
        demand(time.monotonic() - began < seconds, f"not within {seconds} s: {what}")
        wait(pause)
    return time.monotonic() - began


def install():
    """Installs missing programs from Debian."""
    missing = {package for program, package in PACKAGES.items() if not shutil.which(program, path=PATH)}
    if compose() is None:
        missing.add("docker-compose")
    if not missing:
        return
    demand(os.geteuid() == 0, f"missing: {', '.join(sorted(missing))}; install them, or run this as root")
    # With RUNLEVEL=1, packages do not start their services.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    for arguments in (["update"], ["install", "-y", "--no-install-recommends", *sorted(missing)]):
        run(["apt-get", "-q", *arguments], 900, env=quiet)


def compose():
    """Returns the command for Compose on this machine, or None if there is none."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose", path=PATH) else None


def build(name, dockerfile, context, *arguments):
    """Builds an image of this run, and returns its name and the seconds that the build took."""
    image, began = f"{PREFIX}-{name}", time.monotonic()
    docker("build", "--force-rm", "-f", dockerfile, "-t", image, *arguments, context, timeout=2400)
    return image, time.monotonic() - began


def _names():
    """Returns the names of all objects of the engine, with the command that removes each kind."""
    return [(("rm", "--force", "--volumes"), docker("ps", "-a", "--format", "{{.Names}}", check=False).split()),
            (("network", "rm"), docker("network", "ls", "--format", "{{.Name}}", check=False).split()),
            (("volume", "rm"), docker("volume", "ls", "--format", "{{.Name}}", check=False).split()),
            # Removing the untagged parents of an image would remove the build cache.
            (("rmi", "--force", "--no-prune"), docker("images", "--format", "{{.Repository}}", check=False).split())]


def remove(of_run):
    """Removes everything that one run made, except for the build cache and the base images."""
    for command, names in _names():
        if mine := sorted({name for name in names if re.match(rf"{NAME}-{of_run}[-_]", name)}):
            docker(*command, *mine, check=False, timeout=300)


def remove_leftovers():
    """Removes what earlier runs left behind because they were killed."""
    found = {match[1] for _, names in _names() for name in names if (match := re.match(rf"{NAME}-(\d+)[-_]", name))}
    for number in found:
        if not pathlib.Path(f"/proc/{number}").exists():
            print(f"containers: removing what run {number} left", file=sys.stderr)
            remove(number)
