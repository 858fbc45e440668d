//! The fastest way that this host has: what can be had is tried, and what it costs is measured.
//!
//! AF_XDP is taken where the driver of the interface that leads outward runs its program itself: no
//! measure over loopback can tell what it gains, and where the stack has to run it, it gains nothing. Of
//! steer and sockets, the one with the cheaper packets is.

use crate::batch::{Batch, PortId};
use crate::clock;
use crate::datapath::{Chosen, Datapath};
use crate::io::PacketIo;
use crate::kernel::Kernel;
use crate::portable::Portable;
use crate::routes::{Hop, Routes};
use crate::steer::Steer;
use crate::sys::Bell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What to take, and why; with the kernel's programs where these are for.
/// `outward`: media comes from other hosts.
pub(crate) fn choose(outward: bool) -> (Chosen, Option<Arc<Mutex<Kernel>>>) {
    let sockets = |why: String| (Chosen { by: Datapath::Portable, why }, None);
    let steering = Kernel::load().and_then(|mut kernel| kernel.steer().map(|()| kernel));
    let mut kernel = match steering {
        Ok(kernel) => kernel,
        Err(why) => return sockets(format!("nothing faster can be had: {why}")),
    };
    let xdp = match outward {
        true => runs_xdp(&mut kernel),
        false => Err("media stays on this host".to_owned()),
    };
    let no_xdp = match xdp {
        Ok(()) => {
            let why = "the driver of the interface that leads outward runs it".to_owned();
            let kernel = Some(Arc::new(Mutex::new(kernel)));
            return (Chosen { by: Datapath::Xdp, why }, kernel);
        }
        Err(why) => why,
    };
    let kernel = Arc::new(Mutex::new(kernel));
    match calibrate(&kernel) {
        Ok([sockets, steer]) if steer < sockets => {
            let why = format!(
                "a packet takes {:.1} us with it, {:.1} by sockets; not xdp: {no_xdp}",
                in_us(steer),
                in_us(sockets)
            );
            (Chosen { by: Datapath::Steer, why }, Some(kernel))
        }
        Ok([portable, steer]) => sockets(format!(
            "a packet takes {:.1} us by sockets, {:.1} with steer; not xdp: {no_xdp}",
            in_us(portable),
            in_us(steer)
        )),
        Err(error) => sockets(format!("steer was tried and failed ({error}); not xdp: {no_xdp}")),
    }
}

fn in_us(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Puts the program of AF_XDP on the interface that leads outward, if its driver runs it; else says why
/// it does not stay there.
fn runs_xdp(kernel: &mut Kernel) -> Result<(), String> {
    let mut routes = Routes::new().map_err(|error| error.to_string())?;
    let mut interface = None;
    for (from, to) in OUTWARD {
        interface = interface.or(match routes.hop(from, to) {
            Hop::Ready(link) if !link.loopback => Some(link.interface),
            Hop::Asking(interface) if interface != 0 => Some(interface),
            Hop::Ready(_) | Hop::Asking(_) | Hop::Unreachable => None,
        });
    }
    let interface = interface.ok_or("no route leads outward")?;
    match kernel.watch_native(interface) {
        Ok(true) => Ok(()),
        Ok(false) => Err("the driver of the interface that leads outward does not run it".into()),
        Err(error) => Err(error.to_string()),
    }
}

/// What a packet costs by sockets, and steered, in turn so that a drift of the machine meets both.
fn calibrate(kernel: &Arc<Mutex<Kernel>>) -> io::Result<[Duration; 2]> {
    let bell = Arc::new(Bell::new()?);
    let portable = Portable::new(Arc::clone(&bell), "".into())?;
    let steer = Steer::new(0, bell, Arc::clone(kernel)).map_err(io::Error::other)?;
    let mut benches = [Bench::new(Box::new(portable))?, Bench::new(Box::new(steer))?];
    let mut best = [Duration::MAX; 2];
    for _ in 0..TURNS {
        for (bench, best) in benches.iter_mut().zip(&mut best) {
            *best = bench.turn()?.min(*best);
        }
    }
    Ok(best)
}

/// One way with ports of its own, and a far side that sends to them and hears what comes back.
struct Bench {
    io: Box<dyn PacketIo>,
    far_side: UdpSocket,
    ports: Vec<(PortId, SocketAddr)>,
    /// The first of those that the next round is for.
    next: usize,
    batch: Batch,
}

impl Bench {
    fn new(mut io: Box<dyn PacketIo>) -> io::Result<Self> {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let far_side = UdpSocket::bind(here)?;
        far_side.set_nonblocking(true)?;
        let mut ports = Vec::with_capacity(PORTS);
        for _ in 0..PORTS {
            // One that nobody has; if somebody takes it meanwhile, the others do as well.
            let at = UdpSocket::bind(here)?.local_addr()?;
            let port = PortId { address: 0, number: at.port() };
            if io.open(port, at, 0).is_ok() {
                ports.push((port, at));
            }
        }
        match ports.is_empty() {
            true => Err(io::ErrorKind::AddrInUse.into()),
            false => Ok(Self { io, far_side, ports, next: 0, batch: Batch::new() }),
        }
    }

    /// The time that a packet takes to be received and sent, the least of a turn's rounds: whatever else
    /// the machine does only adds.
    fn turn(&mut self) -> io::Result<Duration> {
        let begin = clock::now().mono;
        let mut best = Duration::MAX;
        for round in 0..ROUNDS_MAX {
            best = self.round()?.min(best);
            if round >= ROUNDS_MIN && clock::now().mono.saturating_duration_since(begin) >= TURN {
                break;
            }
        }
        Ok(best)
    }

    /// A packet to each of some ports, and back.
    fn round(&mut self) -> io::Result<Duration> {
        let (packet, to) = ([0x80; 172], self.far_side.local_addr()?);
        let some = self.ports.iter().cycle().skip(self.next).take(AT_ONCE);
        for (_, at) in some {
            self.far_side.send_to(&packet, at)?;
        }
        self.next = (self.next + AT_ONCE) % self.ports.len();
        let begin = clock::now().mono;
        let mut passed = 0_u32;
        for _ in 0..TRIES {
            self.batch.clear();
            self.io.receive(&mut self.batch);
            for packet in self.batch.packets_mut() {
                packet.peer = to;
                packet.send = true;
                passed += 1;
            }
            self.io.send(&mut self.batch);
            if passed as usize >= AT_ONCE {
                break;
            }
        }
        let took = clock::now().mono.saturating_duration_since(begin);
        let mut heard = 0;
        while self.far_side.recv(&mut [0; 256]).is_ok() {
            heard += 1;
        }
        match heard {
            0 => Err(io::Error::other("no packet came through")),
            _ => Ok(took / passed.max(1)),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.ports.iter().for_each(|(port, _)| self.io.close(*port));
    }
}

/// From any of our addresses to one that is nobody's (RFC 5737, RFC 3849): the default route.
const OUTWARD: [(IpAddr, IpAddr); 2] = [
    (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))),
    (IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))),
];
/// Ports of a bench: those of five hundred legs, of which none is in the nearest cache when its packet comes.
const PORTS: usize = 1024;
/// Packets of a round: as many as a worker finds at a tick under load.
const AT_ONCE: usize = 32;
/// Each way has so many turns, of so long: a third of a second in all.
const TURNS: usize = 3;
const TURN: Duration = Duration::from_millis(50);
/// The first rounds find nothing in the caches, and routes that are not known yet.
const ROUNDS_MIN: usize = 8;
const ROUNDS_MAX: usize = 10_000;
/// Looks for packets of a round, which are there at once on loopback.
const TRIES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{Namespace, skipped};

    #[test]
    fn a_bench_tells_what_a_packet_takes_by_sockets() {
        let bell = Arc::new(Bell::new().unwrap());
        let portable = Portable::new(bell, "".into()).unwrap();
        let mut bench = Bench::new(Box::new(portable)).unwrap();
        let took = bench.round().unwrap();
        assert!(took > Duration::ZERO && took < Duration::from_secs(1), "{took:?}");
    }

    #[test]
    fn a_way_that_carries_nothing_is_not_chosen_for_being_quick() {
        struct Dead;
        impl PacketIo for Dead {
            fn open(&mut self, _: PortId, _: SocketAddr, _: u8) -> io::Result<()> {
                Ok(())
            }
            fn close(&mut self, _: PortId) {}
            fn receive(&mut self, _: &mut Batch) -> bool {
                false
            }
            fn send(&mut self, _: &mut Batch) {}
            fn await_ring(&mut self) {}
            fn wait(&mut self) {}
            fn carries(&self, _: PortId) -> crate::Carried {
                crate::Carried { by: Datapath::Portable, why_not_faster: "".into() }
            }
            fn faults(&self) -> crate::io::Faults {
                crate::io::Faults::default()
            }
        }
        // What it is sent comes to nobody.
        assert!(Bench::new(Box::new(Dead)).unwrap().turn().is_err());
    }

    /// What is chosen in a namespace that is laid out so; `None` where BPF cannot be had.
    fn chosen_in(lay_out: impl FnOnce(&Namespace)) -> Option<Chosen> {
        let namespace = Namespace::new()?;
        let bpf = namespace.run(|| Kernel::load().map(drop).map_err(|error| error.to_string()));
        if let Err(why) = bpf {
            skipped(&format!("BPF: {why}"));
            return None;
        }
        lay_out(&namespace);
        Some(namespace.run(|| choose(true).0))
    }

    #[test]
    fn af_xdp_is_taken_where_the_driver_of_the_way_out_runs_it() {
        let chosen = chosen_in(|namespace| {
            namespace.ip("link add out type veth peer name far");
            namespace.ip("address add 198.51.100.1/24 dev out");
            namespace.ip("link set out up");
            namespace.ip("route add default via 198.51.100.2");
        });
        let Some(chosen) = chosen else { return };
        assert_eq!(chosen.by, Datapath::Xdp, "{}", chosen.why);
    }

    #[test]
    fn without_a_way_out_the_cheaper_of_the_others_is_taken() {
        let Some(chosen) = chosen_in(|_| {}) else { return };
        assert_ne!(chosen.by, Datapath::Xdp);
        let why = &chosen.why;
        assert!(why.contains(" us ") && why.ends_with("not xdp: no route leads outward"), "{why}");
    }
}
