//! A raw HTTP client that sends exactly the bytes of a test, and a strict reader of OpenMetrics
//! text.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A response: its status code, its header section in lower case, and its body.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends these bytes over TCP and reads until the other side closes.
#[track_caller]
pub fn send(server: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // A server that has read enough may close early.
    let _ = stream.write_all(bytes);
    answer(stream)
}

/// Sends these bytes over a unix socket and reads until the other side closes.
#[track_caller]
pub fn send_to_path(path: &Path, bytes: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(bytes);
    answer(stream)
}

#[track_caller]
fn answer(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    // A reset after the response counts as its end.
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        bytes.extend(&piece[..length]);
    }
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status: {head:?}"));
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// A request of one line and these headers.
pub fn request(line: &str, headers: &[&str]) -> Vec<u8> {
    let mut text = format!("{line} HTTP/1.1\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    format!("{text}\r\n").into_bytes()
}

/// A plain GET.
pub fn get(path: &str) -> Vec<u8> {
    request(&format!("GET {path}"), &["Host: localhost"])
}

/// Reads OpenMetrics text strictly (its specification, "Overall Structure" and "Text Format");
/// gives all samples with their labels.
pub fn read_openmetrics(text: &str) -> HashMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("it ends with # EOF and a newline");
    let mut samples = HashMap::new();
    let mut types: HashMap<&str, &str> = HashMap::new();
    let mut closed: HashSet<&str> = HashSet::new();
    let mut family = "";
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (keyword, rest) = rest.split_once(' ').unwrap();
            let (name, value) = rest.split_once(' ').unwrap();
            if name != family {
                assert!(closed.insert(family), "{family} is not in one piece");
                assert!(!closed.contains(name), "{name} is not in one piece");
                family = name;
            }
            match keyword {
                "HELP" => assert!(!value.is_empty(), "{line}"),
                "TYPE" => {
                    assert!(["counter", "gauge", "histogram"].contains(&value), "{line}");
                    assert_eq!(types.insert(name, value), None, "{line}: twice");
                }
                "UNIT" => assert!(name.ends_with(&format!("_{value}")), "{line}"),
                other => panic!("{other}: {line}"),
            }
            continue;
        }
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("no sample: {line}"));
        let suffix = line[..end].strip_prefix(family).unwrap_or_else(|| panic!("{line} stands among {family}"));
        let allowed: &[&str] = match types[family] {
            "counter" => &["_total"],
            "gauge" => &[""],
            _ => &["_bucket", "_sum", "_count"],
        };
        assert!(allowed.contains(&suffix), "{line}: suffix of a {}", types[family]);
        let (key, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert!(types[family] == "gauge" || value >= 0.0, "{line}");
        if let Some(labels) = key[end..].strip_prefix('{') {
            let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{line}"));
            for label in labels.split("\",") {
                let (name, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(
                    name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !value.contains('\n'),
                    "{line}"
                );
            }
        }
        assert_eq!(samples.insert(key.to_owned(), value), None, "{line}: twice");
    }
    assert!(samples.len() > 20, "{text}");
    samples
}
