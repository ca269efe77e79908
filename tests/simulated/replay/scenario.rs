//! Reads and plays one scenario.

mod expectation;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use holdover::config;
use holdover::config::quantity::read_duration;
use holdover::config::settings::Settings;
use holdover::core::health::UpstreamState;
use holdover::core::upstream::Transport;
use holdover::memory::flushes::{Extent, Scope};
use holdover::resolver::ports::TransportError;

use crate::world::message;
use crate::world::{Dice, Reaction, Sent, World};

/// One rule of an upstream's behaviour.
#[derive(Clone, Debug)]
struct Rule {
    server: Option<SocketAddr>,
    transport: Option<Transport>,
    name: String,
    rtype: Option<RecordType>,
    odds: u64,
    words: Vec<String>,
}

/// A line that happens at a time.
struct Line {
    number: usize,
    at: Duration,
    words: Vec<String>,
}

type Complaints = Vec<String>;

/// Plays a scenario, and gives a complaint `LINE: TEXT` for each line that went otherwise.
pub fn play(text: &str) -> Complaints {
    let mut configuration = String::new();
    let mut upstreams = Vec::new();
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split(';').next().unwrap().trim();
        if line.is_empty() {
            continue;
        }
        if let Some(setting) = line.strip_prefix("config ") {
            configuration.push_str(setting);
            configuration.push('\n');
        } else if let Some(upstream) = line.strip_prefix("upstream ") {
            upstreams.push(upstream.to_owned());
        } else {
            let (time, rest) = line.split_once(' ').unwrap_or_else(|| panic!("line {}: no time", index + 1));
            let at = duration(time, index + 1);
            lines.push(Line { number: index + 1, at, words: rest.split_whitespace().map(str::to_owned).collect() });
        }
    }
    for pair in lines.windows(2) {
        assert!(pair[0].at <= pair[1].at, "line {}: it is earlier than the one before", pair[1].number);
    }
    let settings = settings(&configuration, &upstreams);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(run(settings, lines))
}

/// Reads a duration as the configuration writes it.
fn duration(word: &str, line: usize) -> Duration {
    word.split('+')
        .map(|part| read_duration(part).unwrap_or_else(|| panic!("line {line}: {part} is no duration")))
        .sum()
}

/// Reads the configuration as the binary would.
fn settings(configuration: &str, upstreams: &[String]) -> Settings {
    let mut text = configuration.to_owned();
    for upstream in upstreams {
        let mut words = upstream.split_whitespace();
        let address = words.next().unwrap();
        text.push_str(&format!(
            "\n[[upstream]]\nname = \"{}\"\naddresses = [\"{address}\"]\n",
            address.replace([':', '[', ']'], "-")
        ));
        while let Some(word) = words.next() {
            match word {
                "fallback" => text.push_str("role = \"fallback\"\n"),
                "tcp" => text.push_str("protocol = \"tcp\"\n"),
                "zone" => text.push_str(&format!("zones = [\"{}\"]\n", words.next().unwrap())),
                _ => panic!("upstream: {word}?"),
            }
        }
    }
    let layer = config::file::parse("scenario", &text).unwrap_or_else(|error| panic!("{error}"));
    config::validate::validate(&layer).unwrap_or_else(|error| panic!("{error}"))
}

/// The state of a scenario while it is played.
struct Stage {
    world: World,
    rules: Arc<Mutex<Vec<Rule>>>,
    complaints: Arc<Mutex<Complaints>>,
    asked: Vec<tokio::task::JoinHandle<()>>,
    counted_from: usize,
}

async fn run(settings: Settings, lines: Vec<Line>) -> Complaints {
    let rules: Arc<Mutex<Vec<Rule>>> = Arc::default();
    let dice = Dice::new(7);
    let known = Arc::clone(&rules);
    let world = World::new(settings, 7, move |sent| react(&known.lock().unwrap(), &dice, sent));
    let mut stage = Stage { world, rules, complaints: Arc::default(), asked: Vec::new(), counted_from: 0 };
    for line in &lines {
        // A line is played after everything else that happens up to its time.
        tokio::time::sleep(line.at.saturating_sub(stage.world.clock.elapsed())).await;
        stage.perform(line).await;
    }
    for asked in stage.asked {
        asked.await.unwrap();
    }
    let complaints = stage.complaints.lock().unwrap();
    complaints.clone()
}

impl Stage {
    async fn perform(&mut self, line: &Line) {
        let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["ask", rest @ ..] => self.ask(rest, line),
            ["sends", rest @ ..] => self.sends(rest, line),
            ["rate", "<=", most] => {
                let times: Vec<Duration> = self.counted().iter().map(|sent| sent.at).collect();
                let most: usize = most.parse().unwrap();
                let second = Duration::from_secs(1);
                let peak = times
                    .iter()
                    .map(|from| times.iter().filter(|at| (*from..*from + second).contains(*at)).count())
                    .max();
                self.check(peak.unwrap_or(0) <= most, line, || format!("{peak:?} packets in one second"));
            }
            ["sources-distinct"] => {
                let ids: Vec<[u8; 2]> = self.counted().iter().map(|sent| [sent.query[0], sent.query[1]]).collect();
                self.check(ids.len() > 1 && ids.windows(2).all(|pair| pair[0] != pair[1]), line, || {
                    "an ID was used twice in a row".into()
                });
            }
            ["state", address, expected] => {
                let address: SocketAddr = address.parse().unwrap();
                let upstream = self
                    .world
                    .resolver
                    .upstreams()
                    .all()
                    .into_iter()
                    .find(|upstream| upstream.endpoint.address == address)
                    .unwrap();
                let state = match upstream.state() {
                    UpstreamState::Healthy => "healthy",
                    UpstreamState::Impaired => "impaired",
                    UpstreamState::Down => "down",
                };
                self.check(state == *expected, line, || format!("it is {state}"));
            }
            ["critical", name, rtype, expected @ ..] => {
                let critical = self.world.resolver.critical();
                let wanted = format!("{name}. {rtype}");
                let own = critical
                    .iter()
                    .find(|critical| critical.key.to_string() == wanted)
                    .unwrap_or_else(|| panic!("{wanted}?"));
                let mut words = vec![own.standing.label()];
                words.extend(own.too_old_since.map(|_| "too-old"));
                words.extend(own.last_failure.map(|_| "failed"));
                self.check(words == expected, line, || format!("it is {}", words.join(" ")));
            }
            ["open", "<=", most] => {
                let open = self.world.network.open.load(std::sync::atomic::Ordering::SeqCst);
                self.check(open <= most.parse().unwrap(), line, || format!("{open} exchanges are under way"));
            }
            ["pause", length] => tokio::time::advance(duration(length, line.number)).await,
            ["flush", name] => {
                let scope = Scope::new(&message::wire_name(name), Extent::Name, None);
                self.world.resolver.memory().flush_all(&scope);
            }
            ["restart"] => self.world.restart(),
            ["reset"] => self.counted_from = self.world.sends(),
            rule => self.rule(rule, line.number),
        }
    }

    fn counted(&self) -> Vec<Sent> {
        self.world.network.sent.lock().unwrap()[self.counted_from..].to_vec()
    }

    fn check(&self, holds: bool, line: &Line, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.complaints.lock().unwrap().push(format!(
                "{}: `{}`: {}",
                line.number,
                line.words.join(" "),
                otherwise()
            ));
        }
    }

    /// `[ADDR] [udp|tcp] NAME TYPE: REACTION`
    fn rule(&self, words: &[&str], line: usize) {
        let mut words = words.iter().copied().peekable();
        let server = words.peek().and_then(|word| word.parse().ok());
        if server.is_some() {
            words.next();
        }
        let transport = match words.peek() {
            Some(&"udp") => Some(Transport::Udp),
            Some(&"tcp") => Some(Transport::Tcp),
            _ => None,
        };
        if transport.is_some() {
            words.next();
        }
        let name = words.next().unwrap_or_else(|| panic!("line {line}: no name")).to_owned();
        let rtype =
            words.next().and_then(|word| word.strip_suffix(':')).unwrap_or_else(|| panic!("line {line}: no `TYPE:`"));
        let rtype = if rtype == "*" { None } else { Some(rtype_of(rtype)) };
        let mut words: Vec<String> = words.map(str::to_owned).collect();
        let mut odds = 100;
        if let Some(place) = words.iter().position(|word| word == "odds") {
            odds = words[place + 1].trim_end_matches('%').parse().unwrap();
            words.drain(place..place + 2);
        }
        self.rules.lock().unwrap().push(Rule { server, transport, name, rtype, odds, words });
    }

    /// `[NAME TYPE] [to ADDR] =|<=|>= N`
    fn sends(&self, words: &[&str], line: &Line) {
        let [selection @ .., sign, number] = words else { panic!("line {}: sends what?", line.number) };
        let (question, server) = match selection {
            [name, rtype] if *name != "to" => (Some((format!("{name}."), rtype_of(rtype))), None),
            ["to", address] => (None, Some(address)),
            [name, rtype, "to", address] => (Some((format!("{name}."), rtype_of(rtype))), Some(address)),
            [] => (None, None),
            _ => panic!("line {}: sends {selection:?}?", line.number),
        };
        let server: Option<SocketAddr> = server.map(|address| address.parse().unwrap());
        let count = self
            .counted()
            .iter()
            .filter(|sent| server.is_none_or(|server| sent.server == server))
            .filter(|sent| question.is_some() || !looks_for_a_loop(sent))
            .filter(|sent| question.is_none() || message::question(&sent.query) == question)
            .count();
        let number: usize = number.parse().unwrap();
        let holds = match *sign {
            "=" => count == number,
            "<=" => count <= number,
            ">=" => count >= number,
            _ => panic!("line {}: {sign}?", line.number),
        };
        self.check(holds, line, || format!("{count} were sent"));
    }

    /// `NAME TYPE [plain] [do] [cd] [rd0] [from C] [id N] [every D until T] -> EXPECTATION`
    fn ask(&mut self, words: &[&str], line: &Line) {
        let arrow = words
            .iter()
            .position(|word| *word == "->")
            .unwrap_or_else(|| panic!("line {}: no expectation", line.number));
        let (asked, expected) = (&words[..arrow], &words[arrow + 1..]);
        let option = |name: &str| asked.iter().position(|word| *word == name).map(|place| asked[place + 1]);
        let client: SocketAddr = option("from").unwrap_or("127.0.0.1:4000").parse().unwrap();
        let id = option("id").map_or(u16::try_from(line.number).unwrap(), |id| id.parse().unwrap());
        let mut packet = message::query(asked[0], rtype_of(asked[1]), id, !asked.contains(&"plain"));
        if asked.contains(&"do") {
            // The OPT ends the packet; its flags stand before the length of its options.
            let at = packet.len() - 4;
            packet[at] |= 0x80;
        }
        if asked.contains(&"cd") {
            packet[3] |= 0x10;
        }
        if asked.contains(&"rd0") {
            packet[2] &= 0xfe;
        }
        let until = option("until").map_or(line.at, |until| duration(until, line.number));
        let every = option("every").map_or(Duration::from_secs(1), |every| duration(every, line.number));
        let mut at = line.at;
        while at <= until {
            let begin = at.saturating_sub(self.world.clock.elapsed());
            let (complaints, number) = (Arc::clone(&self.complaints), line.number);
            let (text, expected) =
                (line.words.join(" "), expected.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
            let ask = self.world.ask(packet.clone(), client);
            self.asked.push(tokio::spawn(async move {
                tokio::time::sleep(begin).await;
                let reply = ask.await;
                if let Err(otherwise) = expectation::compare(&reply, &expected) {
                    complaints.lock().unwrap().push(format!("{number}: `{text}` at {at:?}: {otherwise}"));
                }
            }));
            at += every;
        }
    }
}

/// Whether a packet is the one that detects loops, which scenarios do not count.
fn looks_for_a_loop(sent: &Sent) -> bool {
    message::question(&sent.query).is_some_and(|(name, _)| name.ends_with(".holdover-loop.test."))
}

fn rtype_of(word: &str) -> RecordType {
    word.strip_prefix("TYPE")
        .and_then(|number| number.parse::<u16>().ok())
        .map_or_else(|| word.parse().unwrap(), RecordType::from)
}

/// What the upstreams do with a packet: the last rule that fits decides.
fn react(rules: &[Rule], dice: &Dice, sent: &Sent) -> Reaction {
    let Some((name, rtype)) = message::question(&sent.query) else { return Reaction::Silence };
    let name = name.trim_end_matches('.');
    let fits = |rule: &&Rule| {
        rule.server.is_none_or(|server| server == sent.server)
            && rule.transport.is_none_or(|transport| transport == sent.transport)
            && rule.rtype.is_none_or(|own| own == rtype)
            && (rule.name == "*"
                || rule.name == name
                || rule.name.strip_prefix('*').is_some_and(|suffix| name.ends_with(suffix)))
            && (rule.odds == 100 || dice.below(100) < rule.odds)
    };
    rules.iter().rev().find(fits).map_or(Reaction::Silence, |rule| reaction(rule, sent))
}

fn reaction(rule: &Rule, sent: &Sent) -> Reaction {
    let words: Vec<&str> = rule.words.iter().map(String::as_str).collect();
    let option = |name: &str| words.iter().position(|word| *word == name).map(|place| words[place + 1]);
    let after = option("after").map_or(Duration::from_millis(1), |word| duration(word, 0));
    let ttl = option("ttl").map_or(60, |ttl| ttl.parse().unwrap());
    let items: Vec<&str> = words.get(1).map(|items| items.split(',').collect()).unwrap_or_default();
    let query = &sent.query;
    let bytes = match words[0] {
        "answer" => message::positive(query, &items, ttl),
        "marked-stale" => message::marked_stale(message::positive(query, &items, ttl)),
        "marked-stale-nxdomain" => message::marked_stale(message::negative(query, ResponseCode::NXDomain, ttl)),
        "nxdomain" => message::negative(query, ResponseCode::NXDomain, ttl),
        "nodata" => message::negative(query, ResponseCode::NoError, ttl),
        "nxdomain-bare" => message::empty(query, ResponseCode::NXDomain, true),
        "nodata-bare" => message::empty(query, ResponseCode::NoError, true),
        "servfail" => message::empty(query, ResponseCode::ServFail, true),
        "refused" => message::empty(query, ResponseCode::Refused, true),
        "notimp" => message::empty(query, ResponseCode::NotImp, true),
        "formerr" => message::empty(query, ResponseCode::FormErr, true),
        "formerr-to-edns" if message::has_edns(query) => message::format_error(query),
        "formerr-to-edns" => message::positive(query, &items, ttl),
        "lame" => message::empty(query, ResponseCode::NoError, false),
        "truncated" => message::truncated(query, &items, ttl),
        "garbage" => vec![query[0], query[1], 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0, 63],
        "silent" => return Reaction::Silence,
        "loop" => return Reaction::Loop,
        "closed" => return Reaction::Error(after, TransportError::Refused),
        "unreachable" => return Reaction::Error(after, TransportError::Unreachable),
        "lost" => return Reaction::Error(after, TransportError::Lost),
        other => panic!("reaction {other}?"),
    };
    Reaction::Answer(after, bytes)
}
