"""The Docker engine as these tests use it: everything is labelled with the run that made it, and goes with it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
RUN = os.getpid()
LABEL = "holdover.test"
PREFIX = f"holdover-test-{RUN}"
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
    # The label is the last layer: what is below it stays in the build cache for the next run.
    docker("build", "--force-rm", "-f", dockerfile, "-t", image, "--label", f"{LABEL}={RUN}", *arguments, context, timeout=2400)
    return image, time.monotonic() - began


def _alive(pid):
    """Whether a process of that number runs."""
    return pathlib.Path(f"/proc/{pid}").exists()


def remove(of_run):
    """Removes all that one run made; the build cache and the base images stay."""
    only = ["--filter", f"label={LABEL}={of_run}"]
    if containers := docker("ps", "-aq", *only, check=False).split():
        docker("rm", "--force", "--volumes", *containers, check=False, timeout=300)
    if networks := docker("network", "ls", "-q", *only, check=False).split():
        docker("network", "rm", *networks, check=False)
    if volumes := docker("volume", "ls", "-q", *only, check=False).split():
        docker("volume", "rm", *volumes, check=False)
    # With their untagged parents would go the cache.
    if images := docker("images", "-q", *only, check=False).split():
        docker("rmi", "--force", "--no-prune", *images, check=False)


def remove_leftovers():
    """Removes what runs left behind that were killed before they could tidy up."""
    for kind in (["ps", "-a"], ["network", "ls"], ["images"]):
        form = "{{.ID}}" if kind == ["images"] else "{{.Label \"" + LABEL + "\"}}"
        found = docker(*kind, "--filter", f"label={LABEL}", "--format", form, check=False).split()
        if kind == ["images"]:
            found = [(inspect(image)["Config"]["Labels"] or {}).get(LABEL, "") for image in set(found)]
        for number in {number for number in found if number.isdigit() and not _alive(number)}:
            print(f"containers: removing what run {number} left", file=sys.stderr)
            remove(number)
