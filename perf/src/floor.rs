//! The floor: the least a relay in user space can do with one socket per leg.
//!
//! epoll, recvfrom, sendto to the other leg's far side. It waits for each packet, looks at none, and
//! knows neither RTP nor latch nor key.

use crate::sys::{self, Epoll};
use std::io;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// The running floor; dropping it ends it.
pub(crate) struct Floor {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One leg: where it is bound, and where its packets go once they are at the other leg.
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) bind: SocketAddrV4,
    pub(crate) far_side: SocketAddrV4,
}

/// What the names of its threads begin with.
pub(crate) const THREAD: &str = "floor";

impl Floor {
    /// Relays between the two legs of each call, with a thread for each share of the calls. Threads have
    /// nothing in common.
    pub(crate) fn start(shares: &[Vec<[Leg; 2]>]) -> io::Result<Self> {
        let mut floor = Self { stop: Arc::new(AtomicBool::new(false)), threads: Vec::new() };
        for (index, calls) in shares.iter().enumerate() {
            let epoll = Epoll::new()?;
            let mut legs = Vec::with_capacity(2 * calls.len());
            for leg in calls.iter().flatten() {
                let socket = UdpSocket::bind(leg.bind)?;
                socket.set_nonblocking(true)?;
                epoll.add(socket.as_raw_fd(), legs.len() as u64)?;
                legs.push((socket, sys::Name::new(leg.far_side)));
            }
            let stopped = Arc::clone(&floor.stop);
            let thread = thread::Builder::new()
                .name(format!("{THREAD}-{index}"))
                .spawn(move || relay(&epoll, &legs, &stopped))?;
            floor.threads.push(thread);
        }
        Ok(floor)
    }
}

fn relay(epoll: &Epoll, legs: &[(UdpSocket, sys::Name)], stop: &AtomicBool) {
    let mut events = Epoll::room();
    let mut packet = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        for event in epoll.wait(&mut events) {
            let at = event.u64 as usize;
            if let Some(len) = sys::receive(legs[at].0.as_raw_fd(), &mut packet) {
                let (socket, to) = &legs[at ^ 1];
                sys::send(socket.as_raw_fd(), &packet[..len], to);
            }
        }
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It wakes up within one wait; if it panicked, the run has shown only loss.
            let _ = thread.join();
        }
    }
}
