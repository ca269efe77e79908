//! A sidecar inside the test process, on a real loopback socket.

use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use hickory_proto::op::Message;
use holdover::app;
use holdover::config::settings::Settings;

/// A sidecar that runs in a thread of its own until the value is dropped.
pub struct Sidecar {
    pub address: SocketAddr,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Sidecar {
    pub fn start(settings: Settings) -> Self {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (tell, told) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let running = app::start(&settings).unwrap();
                tell.send(running.addresses()[0]).unwrap();
                let _ = stopped.await;
                running.stop(Duration::from_secs(10)).await;
            });
        });
        Self { address: told.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }

    /// Sends raw bytes over UDP, and gives the answer; `None` if nothing comes back within the
    /// time.
    pub fn exchange(&self, packet: &[u8], within: Duration) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(within)).unwrap();
        socket.send_to(packet, self.address).unwrap();
        let mut buffer = [0; 65_535];
        let (length, from) = socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, self.address, "answers leave from the address that was asked");
        Some(buffer[..length].to_vec())
    }

    /// Asks over UDP, and waits up to six seconds for the answer: a name of which nothing is
    /// remembered fails after 4.8 s.
    pub fn ask(&self, query: &Message) -> Message {
        let bytes = self.exchange(&query.to_vec().unwrap(), Duration::from_secs(6)).expect("an answer");
        Message::from_vec(&bytes).expect("a message")
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        stream
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
