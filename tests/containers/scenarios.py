"""The faults: what is done to the upstreams, for how long, and what must hold with holdover and without."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine import Failed, demand, wait
from world import LIBCS, NAMES, SIDES, TTL, World

WARM_SECONDS = 8  # every name is looked up once a second; the TTLs run out twice
HEAL_SECONDS = 9
IN_TIME = 1.0  # seconds: within it counts as answered
PROMPT = 0.25  # seconds: what the strictest client library waits
PROMPT_SHARE = 0.99  # of lookups with holdover: two cores run all of this
READY_MAX = 5.0  # seconds until ready, with what the engine needs to say so
FRESH_MAX = 6.0  # seconds from the heal to the last stale answer: five, and one between two lookups of a name
DENIED = NAMES[:5]
EMPTIED = NAMES[5:10]
# How getaddrinfo says that there is no such name, or no address: EAI_NONAME, EAI_NODATA.
DENIALS = (-2, -5)


@dataclass
class Scenario:
    """One fault."""

    key: str
    fault: str
    seconds: int
    # Breaks and mends. While it is broken `inject` may go on doing things; it returns when the fault's time is over.
    inject: Callable[[World, int], None]
    heal: Callable[[World], None]
    # The most that may be answered without holdover: above it the fault was none.
    without_max: float = 0.5
    # What else must hold, of the phases of each application.
    also: Callable[["Outcome"], None] = field(default=lambda _: None)
    # Known names are answered with holdover.
    known: bool = True
    cold: bool = False
    # What becomes of the sidecars after a third of the fault.
    strike: Callable[[World], None] | None = None
    # A Valkey or Redis that both sidecars share.
    shares: bool = False


@dataclass
class Outcome:
    """What came of a scenario."""

    scenario: Scenario
    # By libc and side: all lookups, in the order in which they were due.
    lookups: dict
    # When the fault began, was mended, and when everything ended. With a strike, the fault's part before it is apart.
    began: float
    healed: float
    ended: float
    struck: float | None = None
    back: float | None = None
    ready_seconds: float | None = None
    restarts: dict = field(default_factory=dict)
    remembers: bool = False
    # Seconds that mending took, and what did not hold.
    mending: float = 0.0
    failure: str | None = None

    def during(self, libc, side, start=None, end=None):
        """The lookups that were due in the fault, or in another stretch."""
        start = start or self.back or self.began
        return [lookup for lookup in self.lookups[libc, side] if start <= lookup.due < (end or self.healed)]

    def figures(self, libc, side):
        """The fault as this application saw it."""
        lookups = self.during(libc, side)
        took = sorted(lookup.took if lookup.took is not None else float("inf") for lookup in lookups)
        quantile = lambda share: None if (value := took[min(int(share * len(took)), len(took) - 1)]) == float("inf") else value * 1e3
        return {"lookups": len(lookups), "answered": share(lookups, IN_TIME), "prompt": share(lookups, PROMPT), "p50_ms": quantile(0.5), "p99_ms": quantile(0.99),
                "failed": sum(lookup.code not in (0, None) for lookup in lookups), "pending": sum(lookup.took is None for lookup in lookups)}

    def seconds_to_fresh(self, libc, side):
        """From the heal until no lookup fails or gets an address from before the fault any more; none if it never came to that."""
        after = [lookup for lookup in self.lookups[libc, side] if self.healed <= lookup.due]
        bad = [lookup.due for lookup in after if not lookup.within(IN_TIME) or not lookup.generation]
        if after and bad and bad[-1] >= after[-1].due - 1:
            return None
        return bad[-1] - self.healed if bad else 0.0


def share(lookups, seconds):
    """Which share got the right addresses in time."""
    return sum(lookup.within(seconds) for lookup in lookups) / len(lookups) if lookups else 0.0


def steady(act):
    """Breaks once, then waits."""
    def inject(world, seconds):
        act(world)
        wait(seconds)
    return inject


def seoul(world, seconds):
    """Loss climbs to 95 % over a fifth of the time, stays for half, falls; the survivors are 0.5 to 3 s late. A second's steps."""
    began = time.monotonic()
    while (passed := (time.monotonic() - began) / seconds) < 1:
        loss = 0.95 * min(passed / 0.2, 1.0, max(0.0, (1 - passed) / 0.3))
        world.weather(loss=loss, late=(0.5, 3.0))
        wait(1)


def closed_and_silent(world, seconds):
    """Closed and silent in turns of five seconds."""
    began, turn = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        if turn % 2:
            world.firewall("filter", "INPUT")
            world.drop()
        else:
            world.firewall("mangle", "PREROUTING")
            world.reject()
        wait(min(5, began + seconds - time.monotonic()))
        turn += 1


def open_ports(world):
    """No rule any more."""
    world.firewall("mangle", "PREROUTING")
    world.firewall("filter", "INPUT")


def deny(world):
    """The upstreams deny a quarter of the names, and say of another quarter that they have no address."""
    world.denied, world.empty = set(DENIED), set(EMPTIED)
    world.publish()


def allow(world):
    """All names are back."""
    world.denied, world.empty = set(), set()
    world.publish()


def obeyed(outcome):
    """What is denied is denied, with holdover as without, after a TTL; all else is not touched; and what is back is back after the denial's TTL."""
    for libc in LIBCS:
        for side in SIDES:
            lookups = outcome.during(libc, side)
            gone = [lookup for lookup in lookups if lookup.name in DENIED + EMPTIED]
            denied = [lookup for lookup in gone if lookup.due > outcome.began + TTL + 1]
            demand(denied and all(lookup.code in DENIALS for lookup in denied),
                   f"S8 {libc} {side}: a denied name came with {sorted({lookup.code for lookup in denied}, key=str)}")
            rest = [lookup for lookup in lookups if lookup not in gone]
            demand(share(rest, IN_TIME) == 1.0, f"S8 {libc} {side}: {share(rest, IN_TIME):.2%} of the other names")


def failed_fast(outcome):
    """Nothing is known, so nothing is answered; but nobody waits for that as long as without holdover, where libc hears a SERVFAIL at all."""
    for libc in LIBCS:
        demand(outcome.restarts[libc] == 0, f"S13 {libc}: the sidecar was started again")
        demand(outcome.figures(libc, "with")["answered"] == 0, f"S13 {libc}: answers out of nothing")
    demand(outcome.ready_seconds <= READY_MAX, f"S13: ready after {outcome.ready_seconds:.1f} s")
    # musl takes a SERVFAIL for no answer and waits its own five seconds.
    p99 = outcome.figures("glibc", "with")["p99_ms"]
    demand(p99 is not None and p99 < 4500, f"S13 glibc: a failure took {p99} ms at p99")


def unnoticed(outcome, remembers):
    """Before the strike nobody noticed the fault; where what is known outlives it, nobody does after it either."""
    for libc in LIBCS:
        before = outcome.during(libc, "with", outcome.began, outcome.struck - IN_TIME)
        demand(before and share(before, IN_TIME) == 1.0, f"{outcome.scenario.key} {libc}: {share(before, IN_TIME):.2%} before the strike")
        after = outcome.figures(libc, "with")["answered"]
        demand(after == 1.0 or not remembers, f"{outcome.scenario.key} {libc}: {after:.2%} answered after it")


def started_again(outcome):
    """The engine started each once more; what they knew lies in their state files."""
    for libc in LIBCS:
        demand(outcome.restarts[libc] == 1, f"S12 {libc}: {outcome.restarts[libc]} restarts")
    unnoticed(outcome, outcome.remembers)


def replaced(outcome):
    """New ones, which know nothing but what their group does."""
    for libc in LIBCS:
        demand(outcome.restarts[libc] == 0, f"S12b {libc}: {outcome.restarts[libc]} restarts")
    unnoticed(outcome, True)


SCENARIOS = [
    Scenario("S1", "Seoul: loss to 95 %, the rest 0.5 to 3 s late, heals slowly", 50, seoul, lambda world: world.weather()),
    Scenario("S2", "silence: `docker pause`", 25, steady(lambda world: world.each("pause")), lambda world: world.each("unpause")),
    Scenario("S2b", "silence: iptables DROP", 25, steady(World.drop), open_ports),
    Scenario("S3", "closed and silent in turns: iptables REJECT, DROP", 25, closed_and_silent, open_ports),
    Scenario("S3b", "gone: `docker kill`", 20, steady(lambda world: world.each("kill")), lambda world: world.each("start")),
    Scenario("S3c", "unplugged: `docker network disconnect`", 20, steady(World.disconnect), World.reconnect),
    Scenario("S6", "half of all packets lost", 25, steady(lambda world: world.weather(loss=0.5)), lambda world: world.weather()),
    Scenario("S7", "every answer 1 to 4 s late", 25, steady(lambda world: world.weather(late=(1.0, 4.0))), lambda world: world.weather()),
    Scenario("S8", "a quarter NXDOMAIN, a quarter without address: obeyed", 20, steady(deny), allow, without_max=0.8, also=obeyed, known=False),
    Scenario("S12", "silence, and `kill -9` of the sidecar: after the restart", 25, steady(lambda world: world.each("pause")), lambda world: world.each("unpause"),
             also=started_again, known=False, strike=World.kill_sidecars),
    Scenario("S12b", "silence, and new, empty sidecars with a shared cache: from when they are ready", 25, steady(lambda world: world.each("pause")),
             lambda world: world.each("unpause"), also=replaced, known=False, strike=World.replace_sidecars, shares=True),
    Scenario("S13", "started in silence, nothing known", 15, steady(lambda world: None), lambda world: world.each("unpause"), also=failed_fast, known=False, cold=True),
]


def play(scenario, images, netem):
    """One scenario from its network to its outcome."""
    world = World(scenario.key, images, netem, scenario.shares)
    try:
        return _play(scenario, world, bool(images["state"]))
    finally:
        world.end()


def _play(scenario, world, remembers):
    """The phases."""
    ready = struck = back = None
    world.start_upstreams()
    if scenario.cold:
        world.each("pause")
    world.start_applications()
    ready = world.wait_ready(READY_MAX + 15)
    if not scenario.cold:
        wait(WARM_SECONDS)
    if scenario.known:
        # From here on an old address is a stale one. The upstreams are healthy for as long as they need to read their zones.
        world.next_generation()
        wait(0.3)
    began = time.time()
    if scenario.strike:
        scenario.inject(world, scenario.seconds / 3)
        struck = time.time()
        scenario.strike(world)
        wait(1)
        world.wait_ready(READY_MAX + 15)
        back = time.time()
        wait(scenario.seconds * 2 / 3)
    else:
        scenario.inject(world, scenario.seconds)
    if not scenario.known and scenario.key != "S8":
        world.generation = 1
        world.publish()
    healing = time.time()
    scenario.heal(world)
    if scenario.key == "S8":
        world.next_generation()
    # A fault ends when its mending begins; that takes the engine a moment, and fresh counts from when it is done.
    healed = time.time()
    wait(HEAL_SECONDS)
    ended = time.time() - IN_TIME
    outcome = Outcome(scenario, {(libc, side): world.lookups(libc, side, ended) for libc in LIBCS for side in SIDES}, began, healing, ended, struck, back, ready,
                      {libc: world.restarts(libc) for libc in LIBCS}, remembers)
    outcome.mending = healed - healing
    try:
        judge(outcome)
    except Failed as failure:
        outcome.failure = f"{failure}\n" + "\n".join(f"--- {libc}'s sidecar\n{world.log(libc)[-1500:]}" for libc in LIBCS)
    return outcome


def judge(outcome):
    """Fails with what did not hold."""
    scenario = outcome.scenario
    for libc in LIBCS:
        healthy = outcome.during(libc, "with", outcome.began - WARM_SECONDS / 2, outcome.began - IN_TIME) if not scenario.cold else []
        demand(scenario.cold or share(healthy, IN_TIME) == 1.0, f"{scenario.key} {libc}: {share(healthy, IN_TIME):.2%} answered before the fault")
        figures, bare = outcome.figures(libc, "with"), outcome.figures(libc, "without")
        demand(bare["answered"] <= scenario.without_max, f"{scenario.key} {libc}: {bare['answered']:.2%} answered without holdover: the fault was none")
        if scenario.known:
            demand(figures["failed"] == 0, f"{scenario.key} {libc}: {figures['failed']} lookups failed with holdover")
            demand(figures["answered"] == 1.0, f"{scenario.key} {libc}: {figures['answered']:.2%} answered within {IN_TIME} s with holdover")
            demand(figures["prompt"] >= PROMPT_SHARE, f"{scenario.key} {libc}: {figures['prompt']:.2%} answered within {PROMPT} s with holdover")
        fresh = outcome.seconds_to_fresh(libc, "with")
        demand(fresh is not None and fresh <= FRESH_MAX + outcome.mending, f"{scenario.key} {libc}: fresh {fresh} s after the heal")
    scenario.also(outcome)


def table(outcomes):
    """All of it in Markdown."""
    rows = ["| | fault of both upstreams | libc | without holdover: answered | p50 | p99 | with holdover: answered | p50 | p99 | fresh after the heal |",
            "|---|---|---|---:|---:|---:|---:|---:|---:|---:|"]
    for outcome in outcomes:
        for libc in LIBCS:
            cells = []
            for side in SIDES:
                figures = outcome.figures(libc, side)
                cells.append(" | ".join([percent(figures["answered"]), milliseconds(figures["p50_ms"]), milliseconds(figures["p99_ms"])]))
            fresh = outcome.seconds_to_fresh(libc, "with")
            rows.append(f"| {outcome.scenario.key} | {outcome.scenario.fault} | {libc} | {cells[0]} | {cells[1]} | {'never' if fresh is None else f'{fresh:.1f} s'} |")
    return "\n".join(rows)


def percent(part):
    """A share; never rounded up to 100 %."""
    return f"{min(100 * part, 99.99) if part < 1 else 100:.2f} %"


def milliseconds(number):
    """A time that somebody waited; none is one that did not end."""
    return "never" if number is None else f"{number:.1f} ms" if number < 100 else f"{number / 1e3:.1f} s"


def report(outcomes):
    """The same for machines."""
    return [{"scenario": outcome.scenario.key, "fault": outcome.scenario.fault, "seconds": outcome.healed - outcome.began, "failure": outcome.failure,
             "ready_seconds": outcome.ready_seconds,
             "applications": [{"libc": libc, "holdover": side == "with", **outcome.figures(libc, side), "seconds_to_fresh": outcome.seconds_to_fresh(libc, side)}
                              for libc in LIBCS for side in SIDES]} for outcome in outcomes]
