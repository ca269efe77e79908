"""Checks that the image from docker/Dockerfile is as the README promises."""

import tempfile
import time

from engine import PREFIX, demand, docker, inspect, run, wait, wait_for

SIZE_MAX = 10 * 1000 * 1000  # bytes
DRAIN_IDLE = 5.0  # seconds without a query before it ends; an exec may take a second or two
DRAIN_MAX = 15.0  # seconds from the last query to its end, including the time of the engine
# How often the engine runs the health check in this test.
HEALTH_INTERVAL = "3s"
STATE = "/var/lib/holdover"


def check(image, revision):
    """Runs all checks, and returns size, version, and the times to healthy and to the end."""
    facts = inspect(image)
    size = facts["Size"]
    demand(size <= SIZE_MAX, f"the image has {size} bytes, more than {SIZE_MAX}")
    config = facts["Config"]
    demand(config["User"] == "65532:65532", f"its user is {config['User']!r}")
    demand(set(config["Volumes"] or {}) == {STATE}, f"its volumes are {config['Volumes']}")
    demand(set(config["ExposedPorts"]) == {"53/udp", "53/tcp"}, f"its ports are {config['ExposedPorts']}")
    demand(config["Healthcheck"]["Test"] == ["CMD", "/holdover", "check"], f"its health check is {config['Healthcheck']}")
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    demand(labels["title"] == "holdover" and labels["licenses"] == "MIT OR Apache-2.0" and labels["description"], f"its labels are {labels}")
    demand(labels["revision"] == revision, f"its revision is {labels['revision']}, built was {revision}")
    told = docker("run", "--rm", "--name", f"{PREFIX}-version", image, "--version")
    demand(labels["version"] in told.split(), f"its label says {labels['version']}, it says {told}")
    check_files(image)
    seconds = check_life(image)
    return {"bytes": size, "version": labels["version"], "healthy_after_seconds": seconds[0], "ended_after_seconds": seconds[1]}


def check_files(image):
    """Checks that the image holds one static executable and an empty folder for the state file."""
    container = docker("create", "--name", f"{PREFIX}-files", image)
    with tempfile.TemporaryDirectory() as folder:
        listing = run(["sh", "-c", f"docker export {container} | tar -t"]).split()
        ours = {name.strip("/") for name in listing} - {""}
        # These are mount points of the engine.
        ours = {name for name in ours if name.split("/")[0] not in ("dev", "etc", "proc", "sys", ".dockerenv")}
        demand(ours == {"holdover", "var", "var/lib", "var/lib/holdover"}, f"the image holds {sorted(ours)}")
        docker("cp", f"{container}:/holdover", f"{folder}/holdover")
        # A dynamic executable has a PT_INTERP header (type 3). The headers are read here, because
        # readelf is in binutils, which may not be installed.
        data = open(f"{folder}/holdover", "rb").read()
    demand(data[:4] == b"\x7fELF" and data[4] == 2, "/holdover is no 64-bit executable")
    table, size, count = int.from_bytes(data[32:40], "little"), int.from_bytes(data[54:56], "little"), int.from_bytes(data[56:58], "little")
    kinds = [int.from_bytes(data[table + index * size:table + index * size + 4], "little") for index in range(count)]
    demand(1 in kinds and 3 not in kinds, "/holdover is linked dynamically")


def check_life(image):
    """Checks that it starts on port 53 without privileges, becomes healthy, and ends with 0."""
    name = f"{PREFIX}-image"
    docker("run", "--detach", "--name", name, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
           "--memory", "32m", "--network", "none", "--health-interval", HEALTH_INTERVAL,
           "--env", f"HOLDOVER_DRAIN_IDLE={DRAIN_IDLE:.0f}s", image, "serve", "--upstream", "192.0.2.53")
    state = lambda: inspect(name)["State"]
    healthy = wait_for("the image's own health check says healthy", 20, lambda: state()["Health"]["Status"] == "healthy", 0.2)
    process = state()["Pid"]
    status = dict(line.split(":", 1) for line in open(f"/proc/{process}/status"))
    demand(status["Uid"].split() == ["65532"] * 4, f"it runs as {status['Uid'].split()}")
    demand(all(int(status[key], 16) == 0 for key in ("CapEff", "CapPrm", "CapBnd", "CapAmb")), "it holds capabilities")
    docker("kill", "--signal", "TERM", name)
    for _ in range(3):
        # These checks come while it still waits for queries. They do not delay its end.
        demand("ready" in docker("exec", name, "/holdover", "check"), "it does not answer while it drains")
        wait(DRAIN_IDLE * 0.2)
    began = time.monotonic()
    wait_for("it ends after SIGTERM when nobody asks any more", DRAIN_MAX, lambda: not state()["Running"], 0.2)
    demand(state()["ExitCode"] == 0 and not state()["OOMKilled"], f"it ended with {state()['ExitCode']}")
    return healthy, time.monotonic() - began
