//! Queries byte by byte, and the frames in which they travel over TCP (RFC 1035 §4.2.2).

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A query with this ID for `<label>.example.com` A.
pub fn query(id: u16, label: &str) -> Vec<u8> {
    let mut bytes = id.to_be_bytes().to_vec();
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    bytes.push(u8::try_from(label.len()).unwrap());
    bytes.extend(label.bytes());
    bytes.extend(b"\x07example\x03com\x00\x00\x01\x00\x01");
    bytes
}

/// A message with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut frame = u16::try_from(message.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(message);
    frame
}

/// Reads one frame; `None` at the end of the stream.
pub async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = stream.read_u16().await.ok()?;
    let mut message = vec![0; usize::from(length)];
    stream.read_exact(&mut message).await.ok()?;
    Some(message)
}

/// Frames on the standard library's streams, for threads that may block.
pub mod blocking {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    /// Reads one frame; `None` at the end of the stream.
    pub fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// Writes one frame. Errors are ignored, because the reader of the answer notices them.
    pub fn write_frame(stream: &mut TcpStream, bytes: &[u8]) {
        let _ = stream.write_all(&super::framed(bytes));
    }
}
