//! Garbage from clients and from the upstream: it costs neither answers nor memory.

use super::*;

/// SplitMix64, a generator whose bytes are the same in every run.
struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.throw() % bound as u64) as usize
    }

    /// Random bytes, or a query of which some bytes are changed and perhaps the end is cut off.
    fn packet(&mut self, sound: &[u8]) -> Vec<u8> {
        if self.below(2) == 0 {
            let length = self.below(1400);
            return (0..length).map(|_| self.throw() as u8).collect();
        }
        let mut packet = sound.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(packet.len());
            packet[place] = self.throw() as u8;
        }
        packet.truncate(packet.len() - self.below(3) * self.below(8));
        packet
    }
}

#[test]
fn garbage_is_survived_and_told_once() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start(&upstream, &[]);
    let mut dice = Dice(0x686f_6c64);
    let sound = query("garbage.example.com.", RecordType::A).to_vec().unwrap();
    let socket = client(sidecar.address);
    for index in 0..2000 {
        socket.send(&dice.packet(&sound)).unwrap();
        if index % 100 == 0 {
            // A pause lets the kernel's queue empty, so that most packets arrive.
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    for round in 0..60 {
        let mut stream = TcpStream::connect_timeout(&sidecar.address, Duration::from_secs(5)).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
        for _ in 0..20 {
            let packet = dice.packet(&sound);
            // Packets go in a correct frame, without a length, or after a length that promises more
            // bytes than come.
            match round % 3 {
                0 => write_frame(&mut stream, &packet),
                1 => drop(stream.write_all(&packet)),
                _ => drop(stream.write_all(&[&[0xff, 0xff][..], &packet].concat())),
            }
        }
        if round % 2 == 0 {
            let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
            let _ = stream.read(&mut [0; 512]);
        }
    }
    assert_eq!(addresses(&sidecar.ask(&query("alive-udp.example.com.", RecordType::A))), ["192.0.2.7"]);
    assert_eq!(addresses(&ask_tcp(sidecar.address, &query("alive-tcp.example.com.", RecordType::A))), ["192.0.2.7"]);
    for kind in ["packets from clients were dropped", "queries were rejected"] {
        let line =
            sidecar.process.wait_for(kind).unwrap_or_else(|| panic!("no {kind:?}: {:#?}", sidecar.process.log()));
        assert!(number(&line, "count") > 100.0, "{line}");
    }
    let log = sidecar.process.log();
    assert!(log.len() <= 8, "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("panic")), "{log:#?}");
}

#[test]
fn memory_stays_flat_however_much_garbage_comes() {
    let upstream = upstream(60, 7);
    let sidecar = Sidecar::start(&upstream, &[]);
    let mut dice = Dice(5);
    let sound = query("garbage.example.com.", RecordType::A).to_vec().unwrap();
    let socket = client(sidecar.address);
    // The kernel may drop a query behind the flood, so the client asks again.
    let alive = query("alive.example.com.", RecordType::A);
    let known = || {
        addresses(&(0..5).find_map(|_| try_ask(sidecar.address, &alive, Duration::from_secs(2))).expect("an answer"))
    };
    assert_eq!(known(), ["192.0.2.7"]);
    let flood = |dice: &mut Dice, packets: usize, connections: usize| {
        for index in 0..packets {
            let _ = socket.send(&dice.packet(&sound));
            if index % 200 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        // These are more connections than may be open. Each promises a frame of 64 KiB and sends
        // most of it.
        let open: Vec<TcpStream> = (0..connections).map(|_| TcpStream::connect(sidecar.address).unwrap()).collect();
        for mut stream in open {
            let _ = stream.write_all(&[&[0xff, 0xff][..], &vec![0; 60_000]].concat());
        }
    };
    flood(&mut dice, 20_000, 200);
    let before = sidecar.process.resident_kib();
    flood(&mut dice, 60_000, 600);
    let after = sidecar.process.resident_kib();
    eprintln!("{before} KiB, then {after} KiB");
    // 64 connections may hold a frame each, which is 4 MiB. Mutated names that resolve fill the
    // cache, which is 8 MiB at most.
    assert!(after < before + 12 * 1024, "{before} KiB, then {after} KiB");
    // This name is in the cache: the flood's names are waiting for the packet budget, and a new
    // name would wait behind them.
    assert_eq!(known(), ["192.0.2.7"]);
}

#[test]
fn who_is_turned_away_is_told_with_the_address() {
    let upstream = upstream(60, 7);
    let mut sidecar = Sidecar::start_with(|command, _| {
        command.args(["--upstream", &upstream.address.to_string()]).env("HOLDOVER_LISTEN_CLIENTS", "192.0.2.0/24");
    });
    let socket = client(sidecar.address);
    for _ in 0..10 {
        socket.send(&query("www.example.com.", RecordType::A).to_vec().unwrap()).unwrap();
    }
    let line = sidecar.process.wait_for("clients were not answered").expect("a line");
    assert!(line.contains("listen.clients") && line.contains("127.0.0.1"), "{line}");
}

#[test]
fn garbage_from_the_upstream_is_survived_and_told_once() {
    let noise = std::sync::Mutex::new(Dice(7));
    let upstream = Upstream::start(move |query, via| match via {
        Via::Udp if qname(query).to_ascii().starts_with("noise") => {
            let sound = address(query, 60, 66);
            let mut dice = noise.lock().unwrap();
            let mut all: Vec<Vec<u8>> = (0..20).map(|_| dice.packet(&sound)).collect();
            // The message ID is right, so that some responses get as far as possible.
            for packet in all.iter_mut().filter(|packet| packet.len() > 2) {
                packet[..2].copy_from_slice(&query.metadata.id.to_be_bytes());
            }
            Reaction::SendAll(all)
        }
        Via::Udp | Via::Tcp => Reaction::Send(address(query, 60, 7)),
    });
    let mut sidecar = Sidecar::start(&upstream, &[]);
    let socket = client(sidecar.address);
    for index in 0..50 {
        socket.send(&query(&format!("noise{index}.example.com."), RecordType::A).to_vec().unwrap()).unwrap();
    }
    let good = (0..50)
        .map(|_| receive(&socket))
        .filter(|answer| answer.metadata.response_code == ResponseCode::NoError)
        .count();
    eprintln!("{good} of 50 names were made out through the noise");
    assert_eq!(addresses(&sidecar.ask(&query("clear.example.com.", RecordType::A))), ["192.0.2.7"]);
    let line = sidecar.process.wait_for("belong to no query").expect("a line");
    assert!(number(&line, "count") > 0.0, "{line}");
    let log = sidecar.process.log();
    assert!(log.len() <= 10, "{log:#?}");
    assert!(log.iter().all(|line| !line.contains("panic")), "{log:#?}");
}
