"""The scenarios: which fault the upstreams get, for how long, and what must hold during it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine import Failed, demand, wait
from world import LIBCS, NAMES, SIDES, TTL, World

WARM_SECONDS = 8  # every name is looked up once a second, and the TTLs run out twice
HEAL_SECONDS = 9
IN_TIME = 1.0  # seconds within which a lookup counts as answered
PROMPT = 0.25  # seconds that the strictest client library waits
PROMPT_SHARE = 0.99  # of the lookups with holdover; two cores run everything
READY_MAX = 5.0  # seconds until ready, including the time that the engine takes
FRESH_MAX = 6.0  # seconds from the heal to the last stale answer: 5, and 1 between two lookups
DENIED = NAMES[:5]
EMPTIED = NAMES[5:10]
# Return codes of getaddrinfo for a name that does not exist or has no address: EAI_NONAME,
# EAI_NODATA.
DENIALS = (-2, -5)


@dataclass
class Scenario:
    """A scenario: one fault, and what is expected during it."""

    key: str
    fault: str
    seconds: int
    # `inject` causes the fault, may change it while it lasts, and returns when its time is over.
    # `heal` ends the fault.
    inject: Callable[[World, int], None]
    heal: Callable[[World], None]
    # Largest share that may be answered without holdover. Above it, the fault had no effect.
    without_max: float = 0.5
    # Further checks of the outcome.
    also: Callable[["Outcome"], None] = field(default=lambda _: None)
    # Whether all names are known before the fault, and must be answered with holdover.
    known: bool = True
    cold: bool = False
    # What happens to the sidecars after a third of the fault.
    strike: Callable[[World], None] | None = None
    # Whether both sidecars use a shared cache in one Redis.
    shares: bool = False


@dataclass
class Outcome:
    """The outcome of a scenario."""

    scenario: Scenario
    # All lookups by libc and side, in the order in which they were due.
    lookups: dict
    # When the fault began, when it was healed, and when the scenario ended. `struck` and `back` are
    # when the sidecars were killed or replaced, and when they were ready again.
    began: float
    healed: float
    ended: float
    struck: float | None = None
    back: float | None = None
    ready_seconds: float | None = None
    restarts: dict = field(default_factory=dict)
    remembers: bool = False
    # Seconds that the healing took, and the check that failed.
    mending: float = 0.0
    failure: str | None = None

    def during(self, libc, side, start=None, end=None):
        """Returns the lookups that were due between two times; without them, during the fault."""
        start = start or self.back or self.began
        return [lookup for lookup in self.lookups[libc, side] if start <= lookup.due < (end or self.healed)]

    def figures(self, libc, side):
        """Returns the figures of one application during the fault."""
        lookups = self.during(libc, side)
        took = sorted(lookup.took if lookup.took is not None else float("inf") for lookup in lookups)
        quantile = lambda share: None if (value := took[min(int(share * len(took)), len(took) - 1)]) == float("inf") else value * 1e3
        return {"lookups": len(lookups), "answered": share(lookups, IN_TIME), "prompt": share(lookups, PROMPT), "p50_ms": quantile(0.5), "p99_ms": quantile(0.99),
                "failed": sum(lookup.code not in (0, None) for lookup in lookups), "pending": sum(lookup.took is None for lookup in lookups)}

    def seconds_to_fresh(self, libc, side):
        """Returns the seconds from the heal to the last lookup that failed or got a stale address.

        The result is None if such lookups went on until the end.
        """
        after = [lookup for lookup in self.lookups[libc, side] if self.healed <= lookup.due]
        bad = [lookup.due for lookup in after if not lookup.within(IN_TIME) or not lookup.generation]
        if after and bad and bad[-1] >= after[-1].due - 1:
            return None
        return bad[-1] - self.healed if bad else 0.0


def share(lookups, seconds):
    """Returns the share of lookups that got the right addresses within so many seconds."""
    return sum(lookup.within(seconds) for lookup in lookups) / len(lookups) if lookups else 0.0


def steady(act):
    """Returns an `inject` that acts once and then waits."""
    def inject(world, seconds):
        act(world)
        wait(seconds)
    return inject


def seoul(world, seconds):
    """Plays the Seoul outage in steps of one second.

    Loss rises to 95 % over a fifth of the time, stays there for half of it, and falls. The packets
    that are not lost are 0.5 to 3 s late.
    """
    began = time.monotonic()
    while (passed := (time.monotonic() - began) / seconds) < 1:
        loss = 0.95 * min(passed / 0.2, 1.0, max(0.0, (1 - passed) / 0.3))
        world.weather(loss=loss, late=(0.5, 3.0))
        wait(1)


def closed_and_silent(world, seconds):
    """Closes the ports and silences them in turns of five seconds."""
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
    """Removes all firewall rules."""
    world.firewall("mangle", "PREROUTING")
    world.firewall("filter", "INPUT")


def deny(world):
    """Makes the upstreams answer NXDOMAIN or NODATA, each for a quarter of the names."""
    world.denied, world.empty = set(DENIED), set(EMPTIED)
    world.publish()


def allow(world):
    """Makes all names exist again."""
    world.denied, world.empty = set(), set()
    world.publish()


def obeyed(outcome):
    """Checks that negative responses are obeyed, and that the other names are not affected.

    After a TTL, a name that does not exist any more fails with holdover as it fails without.
    """
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
    """Checks that unknown names fail sooner with holdover than without.

    This holds for glibc, which passes SERVFAIL on.
    """
    for libc in LIBCS:
        demand(outcome.restarts[libc] == 0, f"S13 {libc}: the sidecar was started again")
        # A name that is asked for in the last second may be answered when the upstream is back.
        early = outcome.during(libc, "with", end=outcome.healed - IN_TIME)
        demand(early and share(early, IN_TIME) == 0, f"S13 {libc}: answers out of nothing")
    demand(outcome.ready_seconds <= READY_MAX, f"S13: ready after {outcome.ready_seconds:.1f} s")
    # Names are asked for during 4.8 s until it is certain that nobody answers, and from then on for
    # 0.4 s; each lookup asks for two, because of the search domain. musl treats SERVFAIL as no answer, and waits its own five seconds.
    glibc = outcome.figures("glibc", "with")
    demand(glibc["p50_ms"] is not None and glibc["p50_ms"] < 1000, f"S13 glibc: a failure took {glibc['p50_ms']} ms at the median")
    demand(glibc["p99_ms"] is not None and glibc["p99_ms"] < 6000, f"S13 glibc: a failure took {glibc['p99_ms']} ms at p99")


def unnoticed(outcome, remembers):
    """Checks that all lookups were answered before the sidecars were struck.

    If the sidecars still have their answers afterwards, all later lookups must be answered, too.
    """
    for libc in LIBCS:
        before = outcome.during(libc, "with", outcome.began, outcome.struck - IN_TIME)
        demand(before and share(before, IN_TIME) == 1.0, f"{outcome.scenario.key} {libc}: {share(before, IN_TIME):.2%} before the strike")
        after = outcome.figures(libc, "with")["answered"]
        demand(after == 1.0 or not remembers, f"{outcome.scenario.key} {libc}: {after:.2%} answered after it")


def started_again(outcome):
    """Checks that the engine started each sidecar once more, and that it used its state file."""
    for libc in LIBCS:
        demand(outcome.restarts[libc] == 1, f"S12 {libc}: {outcome.restarts[libc]} restarts")
    unnoticed(outcome, outcome.remembers)


def replaced(outcome):
    """Checks that the new sidecars answered from the shared cache."""
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
    """Plays one scenario, and returns its outcome."""
    world = World(scenario.key, images, netem, scenario.shares)
    try:
        return _play(scenario, world, bool(images["state"]))
    finally:
        world.end()


def _play(scenario, world, remembers):
    """Plays the phases of one scenario."""
    ready = struck = back = None
    world.start_upstreams()
    if scenario.cold:
        world.each("pause")
    world.start_applications()
    ready = world.wait_ready(READY_MAX + 15)
    if not scenario.cold:
        wait(WARM_SECONDS)
    if scenario.known:
        # From here on, an old address is a stale one. The upstreams stay healthy for as long as
        # they need to read their zones.
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
    # The fault counts until the healing begins. The healing takes the engine a moment, and the time
    # to fresh answers counts from its end.
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
    """Fails with a message if a check of the scenario does not hold."""
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
    """Returns all outcomes as a Markdown table."""
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
    """Formats a share, which is never rounded up to 100 %."""
    return f"{min(100 * part, 99.99) if part < 1 else 100:.2f} %"


def milliseconds(number):
    """Formats a time that a client waited; None means that the lookup never ended."""
    return "never" if number is None else f"{number:.1f} ms" if number < 100 else f"{number / 1e3:.1f} s"


def report(outcomes):
    """Returns all outcomes as data for JSON."""
    return [{"scenario": outcome.scenario.key, "fault": outcome.scenario.fault, "seconds": outcome.healed - outcome.began, "failure": outcome.failure,
             "ready_seconds": outcome.ready_seconds,
             "applications": [{"libc": libc, "holdover": side == "with", **outcome.figures(libc, side), "seconds_to_fresh": outcome.seconds_to_fresh(libc, side)}
                              for libc in LIBCS for side in SIDES]} for outcome in outcomes]
