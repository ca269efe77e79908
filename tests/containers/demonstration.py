"""The Compose demonstration: runs the README's commands, and checks what the README says."""

import os
import re
import shlex

import engine
from engine import PREFIX, ROOT, demand, docker, run, wait, wait_for

SETTLE_SECONDS = 8
BUILDS = 3
BUILD_AGAIN_SECONDS = 20
PAUSE_SECONDS = 18
# Seconds of the pause after which no call without holdover can still use a lookup that began before
# the pause or that a cache answered.
BARE_AFTER = 3
LINE = re.compile(r"\d\d:\d\d:\d\d +(\d+) good +(\d+) without an address +(\d+) failed +(\d+) waiting +slowest lookup +([\d.]+) ms")
VERBS = ["up", "logs", "pause", "logs", "unpause", "down"]


def commands():
    """Returns the README's Compose commands in their order."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    found = [line for block in blocks for line in block.splitlines() if line.startswith("docker compose ")]
    verbs = [next(word for word in shlex.split(line)[2:] if word in VERBS) for line in found]
    demand(verbs == VERBS, f"the README shows {verbs}, this knows how to check {VERBS}")
    return found


def type_command(line):
    """Runs a line of the README in the root of the repository.

    Where Docker has no Compose plugin, docker-compose runs it.
    """
    words = [*engine.compose(), *shlex.split(line)[2:]]
    return run(words, 2400, cwd=ROOT, env={**os.environ, "PATH": engine.PATH, "COMPOSE_PROJECT_NAME": PREFIX})


def build_images():
    """Builds the demonstration's images, so that `up` finds them.

    The build is repeated, because a package mirror may fail to respond.
    """
    for attempt in range(BUILDS):
        try:
            return type_command("docker compose -f docker/compose.yaml build")
        except engine.Failed:
            if attempt == BUILDS - 1:
                raise
            wait(BUILD_AGAIN_SECONDS)


def container(service):
    """Returns the name of a service's container; versions of Compose join names with - or _."""
    names = docker("ps", "--format", "{{.Names}}").split()
    return next(name for name in names if re.fullmatch(rf"{PREFIX}[-_]{service}[-_]1", name))


def seconds_of(service):
    """Returns what the application printed each second.

    These are its numbers of calls: good, without an address, failed and waiting, and then the
    slowest lookup in milliseconds.
    """
    return [tuple(float(part) for part in match.groups()) for match in map(LINE.search, docker("logs", container(service)).splitlines()) if match]


def check(made):
    """Runs the demonstration from `up` to `down`, and returns its results."""
    check_loop(made)
    up, logs, pause, logs_again, unpause, down = commands()
    build_images()
    type_command(up)
    wait_for("both applications work", 60, lambda: all(lines and lines[-1][0] >= 9 for lines in (seconds_of("app"), seconds_of("without"))), 0.5)
    wait(SETTLE_SECONDS)
    demand("good" in type_command(logs), "the logs say nothing")
    type_command(pause)
    before = {service: len(seconds_of(service)) for service in ("app", "without")}
    wait(PAUSE_SECONDS)
    shown = type_command(logs_again)
    during = {service: seconds_of(service)[before[service]:] for service in before}
    type_command(unpause)
    good, unresolved, failed = (sum(line[index] for line in during["app"]) for index in range(3))
    demand(len(during["app"]) >= PAUSE_SECONDS - 2 and unresolved == 0 and failed == 0, f"with holdover: {during['app']}")
    demand(good >= 9.5 * len(during["app"]), f"with holdover {good} good calls in {len(during['app'])} s")
    bare = during["without"][BARE_AFTER:]
    demand(bare and sum(line[0] for line in bare) == 0 and sum(line[1] for line in bare) > 0, f"without holdover: {bare}")
    wait_for("the application without holdover works again", 30, lambda: seconds_of("without")[-1][0] >= 9, 0.5)
    said = docker("logs", container("holdover"))
    demand("outage begins" in said and " loop" not in said, f"holdover said: {said}")
    type_command(down)
    left = [name for name in docker("ps", "-a", "--format", "{{.Names}}").split() if re.match(rf"{PREFIX}[-_](app|without|holdover|upstream|service)", name)]
    demand(not left, f"after `{down}` there are {left}")
    print(shown)
    print(f"containers: the Compose demonstration: {good:.0f} good calls and none failed in {len(during['app'])} s of pause with holdover, none good without", flush=True)
    return {"seconds": len(during["app"]), "good": good, "slowest_lookup_ms": max(line[4] for line in during["app"]), "good_without": 0}


def check_loop(made):
    """Checks that holdover notices the loop that compose.yaml avoids.

    Without an upstream of its own, the sidecar asks Docker's resolver, which asks the sidecar.
    """
    network, app, sidecar = (f"{PREFIX}-loop-{name}" for name in ("network", "app", "sidecar"))
    docker("network", "create", "--internal", network)
    docker("run", "--detach", "--name", app, "--network", network, "--dns", "127.0.0.1", made["glibc"], "5", "shop.example.com")
    docker("run", "--detach", "--name", sidecar, "--network", f"container:{app}", made["holdover"], "serve")
    wait_for("holdover notices that Docker's resolver leads back to it", 20, lambda: "loop" in docker("logs", sidecar), 0.5)
    wait(5)
    said = [line for line in docker("logs", sidecar).splitlines() if "loop" in line]
    demand(len(said) <= 3, f"it says so {len(said)} times")
    demand("ready" in docker("exec", sidecar, "/holdover", "check"), "in a loop it does not answer any more")
    docker("rm", "--force", "--volumes", app, sidecar)
    docker("network", "rm", network)
    print(f"containers: the loop through 127.0.0.11 is noticed: {said[0]}", flush=True)
