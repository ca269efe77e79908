//! A client that asks a resolver over UDP or TCP, and never waits without a bound.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hickory_proto::op::Message;

use super::frames::blocking::{read_frame, write_frame};
use super::waiting::PATIENCE;

/// A UDP socket that is connected to a resolver and waits at most [`PATIENCE`] for an answer.
pub fn client(server: SocketAddr) -> UdpSocket {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::LOCALHOST, 0).into() } else { (Ipv6Addr::LOCALHOST, 0).into() };
    let socket = UdpSocket::bind(any).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(server).unwrap();
    socket
}

/// The next message that arrives at a socket.
#[track_caller]
pub fn receive(socket: &UdpSocket) -> Message {
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).expect("an answer");
    Message::from_vec(&buffer[..length]).unwrap()
}

/// Asks over UDP, and gives the answer.
#[track_caller]
pub fn ask(server: SocketAddr, message: &Message) -> Message {
    let socket = client(server);
    socket.send(&message.to_vec().unwrap()).unwrap();
    receive(&socket)
}

/// Asks over UDP, and gives the answer; `None` if none comes within the time.
pub fn try_ask(server: SocketAddr, message: &Message, within: Duration) -> Option<Message> {
    let socket = client(server);
    socket.set_read_timeout(Some(within)).unwrap();
    socket.send(&message.to_vec().unwrap()).ok()?;
    let mut buffer = [0; 65_535];
    let length = socket.recv(&mut buffer).ok()?;
    Some(Message::from_vec(&buffer[..length]).unwrap())
}

/// Asks over TCP, and gives the answer.
#[track_caller]
pub fn ask_tcp(server: SocketAddr, message: &Message) -> Message {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write_frame(&mut stream, &message.to_vec().unwrap());
    Message::from_vec(&read_frame(&mut stream).expect("an answer")).unwrap()
}
