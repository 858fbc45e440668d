//! The fastest way that this host has: what can be had is tried, and what it costs is measured.
//!
//! AF_XDP is taken where the driver of an interface with a media address runs its program itself: no
//! measure over loopback can tell what it gains, and where the stack has to run it, it gains nothing. Of
//! steer and sockets it is steer, unless a packet clearly costs more there: what is measured in a third of a
//! second is not to decide otherwise at the next start.

use crate::batch::{Batch, PortId};
use crate::clock;
use crate::datapath::{Chosen, Datapath, EngineKind};
use crate::io::PacketIo;
use crate::kernel::Kernel;
use crate::needs;
use crate::offload::Drivers;
use crate::pace::TICK;
use crate::portable::Portable;
use crate::routes::{Policies, Routes, output_policies};
use crate::steer::Steer;
use crate::sys::Bell;
use crate::xdp::NOT_NATIVE;
use crate::xdp::interface::{self, Interface, interfaces_with, stands_for};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What to take, and why; with the kernel's programs where these are for. `media`: where ports will be
/// bound, by so many workers, with room for flows or without.
pub(crate) fn choose(
    media: &[IpAddr],
    workers: usize,
    flows: bool,
) -> (Chosen, Option<Arc<Mutex<Kernel>>>) {
    let sockets = |why: String| (Chosen { by: Datapath::Portable, why }, None);
    let kernel = if flows { Kernel::load_with_flows() } else { Kernel::load() };
    let steering = kernel.and_then(|mut kernel| kernel.steer().map(|()| kernel));
    let steering = steering.map_err(|why| why.to_string()).and_then(|kernel| {
        let kernel = Arc::new(Mutex::new(kernel));
        Steer::try_for(&kernel, workers).map(|()| kernel)
    });
    let kernel = match steering {
        Ok(kernel) => kernel,
        Err(why) => return sockets(format!("nothing faster can be had: {why}")),
    };
    if let Some(why) = passes_policies() {
        return sockets(format!("nothing faster is taken: {why}"));
    }
    let found = Candidates::find(media).and_then(|found| {
        found.watched(&mut kernel.lock().unwrap_or_else(PoisonError::into_inner))
    });
    let no_xdp = match found {
        Ok(why) => return (Chosen { by: Datapath::Xdp, why }, Some(kernel)),
        Err(why) => why,
    };
    let turns = match calibrate(&kernel) {
        Ok(turns) => turns,
        Err(error) => {
            return sockets(format!("steer was tried and failed ({error}); not xdp: {no_xdp}"));
        }
    };
    let [portable, steer] = least(&turns).map(|took| took.as_secs_f64() * 1e6);
    match steer_is_worse(&turns) {
        false => {
            let why = format!(
                "a packet takes {steer:.1} us with it, {portable:.1} by sockets; not xdp: {no_xdp}"
            );
            (Chosen { by: Datapath::Steer, why }, Some(kernel))
        }
        true => sockets(format!(
            "a packet takes {portable:.1} us by sockets, {steer:.1} with steer; not xdp: {no_xdp}"
        )),
    }
}

/// Why packets with headers of our own may go where an administrator does not want them to: by what has them
/// encrypted, or keeps them here. `None` where there is nothing of the kind.
pub(crate) fn passes_policies() -> Option<String> {
    why_not_past(output_policies())
}

fn why_not_past(policies: io::Result<usize>) -> Option<String> {
    match policies {
        Ok(0) => None,
        Ok(count) => {
            Some(format!("past IPsec policies of this host ({count}) go all ways but sockets"))
        }
        Err(error) => Some(format!("the IPsec policies of this host cannot be read: {error}")),
    }
}

/// What a worker does where a policy comes that its packets would go past.
#[derive(Debug)]
pub(crate) struct Heeds {
    policies: Policies,
    /// It goes on with sockets: nobody has asked for its engine by name.
    pub(crate) gives_way: bool,
}

impl Heeds {
    /// `None` where the kernel has no IPsec.
    pub(crate) fn new(gives_way: bool) -> Option<Self> {
        let policies = Policies::new().inspect_err(|error| {
            tracing::warn!(%error, "IPsec policies that come later are not seen");
        });
        Some(Self { policies: policies.ok()??, gives_way })
    }

    /// As [`passes_policies`], of what has come since this was last asked.
    pub(crate) fn come(&mut self) -> Option<String> {
        why_not_past(self.policies.follow().map(Option::unwrap_or_default))
    }
}

/// Whether `auto` would take AF_XDP for media on these addresses, and why or why not. Nothing is put
/// anywhere.
pub fn would_take_xdp(media: &[IpAddr]) -> Result<String, String> {
    if let Some(lack) = needs::lacks(EngineKind::Xdp, false).into_iter().next() {
        return Err(lack.what);
    }
    Kernel::load().map_err(|why| why.to_string())?;
    if let Some(why) = passes_policies() {
        return Err(why);
    }
    let found = Candidates::find(media)?;
    match found.native.is_empty() {
        false => Ok(found.why()),
        true => Err(found.why_not()),
    }
}

/// The interfaces that have media addresses and lead to other hosts.
#[derive(Debug, Default)]
struct Candidates {
    /// Their driver says that it runs XDP, or says nothing.
    native: Vec<(u32, String)>,
    /// Those that are left to steer, and why.
    others: Vec<(String, String)>,
}

impl Candidates {
    /// An error where there are none.
    fn find(media: &[IpAddr]) -> Result<Self, String> {
        if media.iter().all(IpAddr::is_loopback) {
            return Err("media stays on this host".to_owned());
        }
        let routes = Routes::new().map_err(|error| error.to_string())?;
        let mut drivers = Drivers::new().ok();
        let mut found = Self::default();
        let has = |local| media.iter().any(|bind| *bind == local || stands_for(*bind, local));
        for index in interfaces_with(&routes, has) {
            let Ok(Interface { name, up, loopback: false, .. }) = interface::look_at(index) else {
                continue;
            };
            // A kernel that does not tell has it tried.
            let runs = drivers.as_mut().is_none_or(|drivers| drivers.of(index).runs());
            match (up, runs) {
                (true, true) => found.native.push((index, name)),
                (true, false) => found.others.push((name, NOT_NATIVE.to_owned())),
                (false, _) => found.others.push((name, "it is down".to_owned())),
            }
        }
        match found.native.is_empty() && found.others.is_empty() {
            false => Ok(found),
            true => Err("no interface has a media address".to_owned()),
        }
    }

    /// Puts the program of AF_XDP on those whose driver runs it, and says which; an error where none does.
    fn watched(mut self, kernel: &mut Kernel) -> Result<String, String> {
        let Self { native, others } = &mut self;
        native.retain(|(index, name)| {
            let why = match kernel.watch_native(*index) {
                Ok(true) => return true,
                Ok(false) => NOT_NATIVE.to_owned(),
                Err(error) => error.to_string(),
            };
            others.push((name.clone(), why));
            false
        });
        match self.native.is_empty() {
            false => Ok(self.why()),
            true => Err(self.why_not()),
        }
    }

    fn why(&self) -> String {
        let names: Vec<&str> = self.native.iter().map(|(_, name)| name.as_str()).collect();
        let why = format!("the driver runs it on {}", names.join(", "));
        match self.others.is_empty() {
            true => why,
            false => format!("{why}; by steer go {}", self.why_not()),
        }
    }

    fn why_not(&self) -> String {
        let others: Vec<String> =
            self.others.iter().map(|(name, why)| format!("{name}: {why}")).collect();
        others.join("; ")
    }
}

/// What a packet took by sockets, and steered, in each turn.
type Turns = [[Duration; 2]; TURNS];

/// Whether steer costs clearly more: in each turn by a quarter. What else the machine does hits one turn or
/// another, and loopback has steer send by the stack, where it gains least.
fn steer_is_worse(turns: &Turns) -> bool {
    turns.iter().all(|[sockets, steer]| *steer * 4 > *sockets * 5)
}

fn least(turns: &Turns) -> [Duration; 2] {
    [0, 1].map(|way| turns.iter().map(|turn| turn[way]).min().unwrap_or_default())
}

/// What a packet costs by sockets, and steered, in turn so that a drift of the machine meets both.
fn calibrate(kernel: &Arc<Mutex<Kernel>>) -> io::Result<Turns> {
    let bell = Arc::new(Bell::new()?);
    let portable = Portable::new(Arc::clone(&bell), "".into())?;
    let steer = Steer::new(0, bell, Arc::clone(kernel)).map_err(io::Error::other)?;
    let mut benches = [Bench::new(Box::new(portable))?, Bench::new(Box::new(steer))?];
    let mut turns = [[Duration::ZERO; 2]; TURNS];
    for turn in &mut turns {
        for (bench, took) in benches.iter_mut().zip(turn) {
            *took = bench.turn()?;
        }
    }
    Ok(turns)
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
        let here = SocketAddr::from((apart(), 0));
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
        let (mut best, mut heard) = (None, false);
        for round in 0.. {
            let round_took = self.round()?;
            best = best.into_iter().chain(round_took).min();
            heard |= self.hears();
            let passed = clock::now().mono.saturating_duration_since(begin);
            match best.filter(|_| heard) {
                Some(best) if round >= ROUNDS_MIN && passed >= TURN => return Ok(best),
                None if passed >= PATIENCE => break,
                _ => {}
            }
            if round_took.is_none() || !heard {
                // Who is to bring packets may wait for this processor.
                clock::pause(TICK);
            }
        }
        Err(io::Error::other("no packet came through"))
    }

    /// A packet to each of some ports, and back: what one took. `None` where none was there yet.
    fn round(&mut self) -> io::Result<Option<Duration>> {
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
        Ok((passed > 0).then(|| took / passed))
    }

    /// Whether the far side hears anything.
    fn hears(&self) -> bool {
        let mut heard = false;
        while self.far_side.recv(&mut [0; 256]).is_ok() {
            heard = true;
        }
        heard
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.ports.iter().for_each(|(port, _)| self.io.close(*port));
    }
}

/// A loopback address that nobody else has ports at: for a third of a second a bench has many, and gets
/// whatever is sent to them.
fn apart() -> Ipv4Addr {
    // Numbers of processes have 22 bits.
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 0x80, middle, low)
}

/// Ports of a bench: those of five hundred legs, of which none is in the nearest cache when its packet comes.
const PORTS: usize = 1024;
/// Packets of a round: as many as a worker finds at a tick under load.
const AT_ONCE: usize = 32;
/// Each way has so many turns, of so long: a third of a second in all.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(30);
/// The first rounds find nothing in the caches, and routes that are not known yet.
const ROUNDS_MIN: usize = 8;
/// Looks for packets of a round, which are there at once on loopback, unless the kernel has so much to do
/// that a thread of its own brings them.
const TRIES: usize = 64;
/// A way by which nothing comes for so long carries nothing.
const PATIENCE: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::namespace::{BPF, NET_ADMIN, Namespace, keep_capabilities, skipped};
    use crate::{Config, Engine, EngineError};

    #[test]
    fn a_bench_tells_what_a_packet_takes_by_sockets() {
        let bell = Arc::new(Bell::new().unwrap());
        let portable = Portable::new(bell, "".into()).unwrap();
        let mut bench = Bench::new(Box::new(portable)).unwrap();
        let took = bench.turn().unwrap();
        assert!(took > Duration::ZERO && took < Duration::from_secs(1), "{took:?}");
    }

    /// Many ports that the system may give to anybody are its own for a while.
    #[test]
    fn a_bench_takes_ports_of_others_on_this_host() {
        let bell = Arc::new(Bell::new().unwrap());
        let portable = Portable::new(bell, "".into()).unwrap();
        let bench = Bench::new(Box::new(portable)).unwrap();
        let of_others = |port: &PortId| UdpSocket::bind((Ipv4Addr::LOCALHOST, port.number));
        // Tests beside this one have a few.
        let taken = bench.ports.iter().filter(|(port, _)| of_others(port).is_err()).count();
        assert!(taken < PORTS / 10, "{taken} of {}", bench.ports.len());
    }

    #[test]
    fn a_way_is_given_up_when_packets_come_a_moment_late() {
        /// Sockets that bring nothing at first.
        struct Late(Portable, usize);
        impl PacketIo for Late {
            fn open(&mut self, port: PortId, at: SocketAddr, dscp: u8) -> io::Result<()> {
                self.0.open(port, at, dscp)
            }
            fn close(&mut self, port: PortId) {
                self.0.close(port);
            }
            fn receive(&mut self, batch: &mut Batch) -> bool {
                self.1 = self.1.saturating_sub(1);
                self.1 == 0 && self.0.receive(batch)
            }
            fn send(&mut self, batch: &mut Batch) {
                self.0.send(batch);
            }
            fn await_ring(&mut self) {}
            fn wait(&mut self) {}
            fn carries(&self, port: PortId) -> crate::Carried {
                self.0.carries(port)
            }
            fn faults(&self) -> crate::io::Faults {
                self.0.faults()
            }
        }
        let bell = Arc::new(Bell::new().unwrap());
        let late = Late(Portable::new(bell, "".into()).unwrap(), 3 * TRIES);
        assert!(Bench::new(Box::new(late)).unwrap().turn().is_ok());
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

    #[test]
    fn a_machine_that_is_busy_decides_between_steer_and_sockets() {
        let us = |us: [u64; 2]| us.map(Duration::from_micros);
        let quiet = [us([20, 16]); TURNS];
        assert!(!steer_is_worse(&quiet));
        // What hits steer alone in all turns but one, and what is as likely as not.
        let mut hit = [us([20, 90]); TURNS];
        hit[3] = us([20, 21]);
        assert!(!steer_is_worse(&hit));
        assert!(!steer_is_worse(&[us([20, 24]); TURNS]));
        assert!(steer_is_worse(&[us([20, 26]); TURNS]));
        assert_eq!(least(&hit), us([20, 21]));
    }

    /// What is chosen for media on these addresses in a namespace that is laid out so, and whether AF_XDP was
    /// foreseen; `None` where BPF cannot be had.
    fn chosen_for(media: &'static [&str], lay_out: impl FnOnce(&Namespace)) -> Option<Chosen> {
        let namespace = Namespace::new()?;
        let bpf = namespace.run(|| Kernel::load().map(drop).map_err(|error| error.to_string()));
        if let Err(why) = bpf {
            skipped(&format!("BPF: {why}"));
            return None;
        }
        lay_out(&namespace);
        let (foreseen, chosen) = namespace.run(|| {
            let media: Vec<IpAddr> = media.iter().map(|ip| ip.parse().unwrap()).collect();
            (would_take_xdp(&media), choose(&media, 1, false).0)
        });
        assert_eq!(foreseen.is_ok(), chosen.by == Datapath::Xdp, "{foreseen:?}, {chosen:?}");
        Some(chosen)
    }

    fn cable(namespace: &Namespace) {
        namespace.ip("link add out type veth peer name far");
        namespace.ip("address add 198.51.100.1/24 dev out");
        namespace.ip("address add 2001:db8::1/64 dev out nodad");
        namespace.ip("link set out up");
    }

    /// An interface whose driver has XDP for Ethernet only: this one's frames have none.
    fn tunnel(namespace: &Namespace) {
        namespace.ip("tuntap add dev tun mode tun");
        namespace.ip("address add 203.0.113.1/24 dev tun");
        namespace.ip("link set tun up");
    }

    #[test]
    fn af_xdp_is_judged_by_another_interface_than_media_has() {
        // No default route leads anywhere here.
        for media in [&["198.51.100.1"][..], &["2001:db8::1"], &["0.0.0.0"], &["::"]] {
            let Some(chosen) = chosen_for(media, cable) else { return };
            assert_eq!(chosen.by, Datapath::Xdp, "{media:?}: {}", chosen.why);
            assert_eq!(chosen.why, "the driver runs it on out");
        }
        let elsewhere = chosen_for(&["203.0.113.1"], |namespace| {
            cable(namespace);
            namespace.ip("route add default via 198.51.100.2");
        });
        let Some(Chosen { by, why }) = elsewhere else { return };
        assert_ne!(by, Datapath::Xdp);
        assert!(why.ends_with("not xdp: no interface has a media address"), "{why}");
    }

    #[test]
    fn an_interface_whose_driver_runs_no_xdp_is_left_to_steer_beside_one_whose_does() {
        let both = |namespace: &Namespace| {
            cable(namespace);
            tunnel(namespace);
        };
        let Some(chosen) = chosen_for(&["198.51.100.1", "203.0.113.1"], both) else { return };
        assert_eq!(chosen.by, Datapath::Xdp, "{}", chosen.why);
        assert!(chosen.why.starts_with("the driver runs it on out"), "{}", chosen.why);
    }

    #[test]
    fn media_that_stays_on_this_host_puts_a_program_on_its_interfaces() {
        for media in [&["127.0.0.1"][..], &[]] {
            let Some(Chosen { by, why }) = chosen_for(media, cable) else { return };
            assert_ne!(by, Datapath::Xdp);
            assert!(why.contains(" us ") && why.ends_with("media stays on this host"), "{why}");
        }
    }

    #[test]
    fn a_host_without_raw_sockets_ends_the_start() {
        for engine in [EngineKind::Auto, EngineKind::Steer, EngineKind::Xdp] {
            let Some(namespace) = Namespace::new() else { return };
            cable(&namespace);
            namespace.run(move || {
                if let Err(error) = Kernel::load() {
                    return skipped(&format!("BPF: {error}"));
                }
                let media = vec!["198.51.100.1".parse().unwrap()];
                let config =
                    |workers| Config { engine, workers, media: media.clone(), ..Config::default() };
                let start = |workers| Engine::start(config(workers), Box::new(|_| ()));
                let by_many = start(crate::kernel::WORKERS_MAX + 1);
                keep_capabilities(&[NET_ADMIN, BPF]);
                match (engine, start(1), by_many) {
                    (EngineKind::Auto, Ok(engine), Ok(many)) => {
                        let Chosen { by, why } = engine.chosen();
                        assert_eq!(
                            (*by, many.chosen().by),
                            (Datapath::Portable, Datapath::Portable)
                        );
                        assert!(why.starts_with("nothing faster can be had: "), "{why}");
                        assert!(why.contains("CAP_NET_RAW"), "{why}");
                    }
                    (
                        EngineKind::Steer | EngineKind::Xdp,
                        Err(EngineError::NotHere { why, .. }),
                        Err(EngineError::NotHere { .. }),
                    ) => assert!(why.contains("CAP_NET_RAW"), "{why}"),
                    (engine, one, many) => panic!("{engine}: {one:?}, {many:?}"),
                }
            });
        }
    }

    #[test]
    fn media_that_is_to_be_encrypted_by_the_host_leaves_as_it_is() {
        let chosen = chosen_for(&["198.51.100.1"], |namespace| {
            cable(namespace);
            namespace.ip("xfrm policy add dir out dst 198.51.100.2 action block");
        });
        let Some(Chosen { by, why }) = chosen else { return };
        assert_eq!(by, Datapath::Portable);
        assert!(why.contains("IPsec policies of this host (1)"), "{why}");
    }
}
