//! A call between two far sides in a namespace, and us in ours.

use crate::rig::namespace::Namespace;
use crate::rig::{PATIENCE, Rig, far_side, id, receive, rtp, stream};
use media::{Carriage, Side, Terms};
use media_engine::{Config, Datapath, EngineKind, Event, LegPorts, Totals};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// Where flows are looked for, and by which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On the loopback, where only tc can.
    Loopback,
    /// Over a cable whose other end takes no frames from drivers.
    Tc,
    /// Over a cable, in the driver.
    Xdp,
    /// From one cable to another, from driver to driver.
    Between,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [Self::Loopback, Self::Tc, Self::Xdp, Self::Between];

    pub(crate) const fn datapath(self) -> Datapath {
        match self {
            Self::Loopback | Self::Tc => Datapath::TcOffload,
            Self::Xdp | Self::Between => Datapath::XdpOffload,
        }
    }
}

/// A call between two far sides in a namespace, and us in ours.
pub(crate) struct Lab {
    pub(crate) rig: Rig,
    pub(crate) a: UdpSocket,
    pub(crate) b: UdpSocket,
    /// The next number of either side.
    pub(crate) next: [u16; 2],
    pub(crate) theirs: Option<Namespace>,
    pub(crate) ours: Namespace,
    pub(crate) way: Way,
    /// Our addresses towards either side.
    pub(crate) near: [IpAddr; 2],
}

/// Sets a value of an interface as `ethtool` does.
fn set(end: &str, command: u32, value: u32) {
    let mut value: [u32; 2] = [command, value];
    // SAFETY: zeroes are a request without a name.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(end.bytes()) {
        *place = octet as libc::c_char;
    }
    request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let what = libc::SIOCETHTOOL as libc::Ioctl;
    // SAFETY: the kernel reads the two words of the value, which outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), what, &raw mut request) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// Has an end of a cable take frames from the driver of the other end.
fn takes_frames(end: &str) {
    const ETHTOOL_SGRO: u32 = 0x2c;
    set(end, ETHTOOL_SGRO, 1);
}

/// Has the kernel make the checksums of what leaves by an end of a cable, as no card does.
pub(crate) fn makes_checksums(end: &str) {
    const ETHTOOL_STXCSUM: u32 = 0x17;
    set(end, ETHTOOL_STXCSUM, 0);
}

/// A cable's ends, and their addresses of either family.
struct Cable {
    near: &'static str,
    far: &'static str,
    ours: [&'static str; 2],
    theirs: [&'static str; 2],
}

const CABLES: [Cable; 2] = [
    Cable {
        near: "near",
        far: "far",
        ours: ["10.9.0.1", "fd09::1"],
        theirs: ["10.9.0.2", "fd09::2"],
    },
    Cable {
        near: "other",
        far: "away",
        ours: ["10.10.0.1", "fd10::1"],
        theirs: ["10.10.0.2", "fd10::2"],
    },
];

impl Cable {
    fn lay(&self, way: Way, ours: &Namespace, theirs: &Namespace) {
        ours.cable(self.near, theirs, self.far);
        for (namespace, end, [v4, v6]) in
            [(ours, self.near, self.ours), (theirs, self.far, self.theirs)]
        {
            namespace.ip(&format!("addr add {v4}/24 dev {end}"));
            namespace.ip(&format!("addr add {v6}/64 dev {end} nodad"));
            namespace.ip(&format!("link set {end} up"));
        }
        if way != Way::Tc {
            let far = self.far;
            theirs.run(move || takes_frames(far));
        }
    }
}

impl Lab {
    /// Over IPv4, or IPv6.
    pub(crate) fn new(way: Way, v6: bool) -> Option<Self> {
        Self::by(EngineKind::Portable, way, v6)
    }

    /// What comes up does so by this engine.
    pub(crate) fn by(engine: EngineKind, way: Way, v6: bool) -> Option<Self> {
        let ours = Namespace::new()?;
        let cables = match way {
            Way::Loopback => &CABLES[..0],
            Way::Tc | Way::Xdp => &CABLES[..1],
            Way::Between => &CABLES,
        };
        let theirs = if cables.is_empty() { None } else { Some(Namespace::new()?) };
        if let Some(theirs) = &theirs {
            cables.iter().for_each(|cable| cable.lay(way, &ours, theirs));
        }
        let loopback = if v6 { "::1" } else { "127.0.0.1" };
        let address = |of: &dyn Fn(&Cable) -> [&'static str; 2]| -> [IpAddr; 2] {
            let ends = [cables.first(), cables.last()];
            ends.map(|cable| {
                cable.map_or(loopback, |cable| of(cable)[usize::from(v6)]).parse().unwrap()
            })
        };
        let (near, far) = (address(&|cable| cable.ours), address(&|cable| cable.theirs));
        let config = Config { offload: true, engine, media: near.to_vec(), ..Config::default() };
        let rig = ours.run(move || Rig::with(config, near[0], 2));
        let there = theirs.as_ref().unwrap_or(&ours);
        let [a, b] = far.map(|far| there.run(move || far_side(far)));
        let lab = Self { rig, a, b, next: [1, 1], theirs, ours, way, near };
        lab.open(0);
        lab.rig.connect(0, stream(&lab.a, &lab.a), stream(&lab.b, &lab.b));
        Some(lab)
    }

    /// Opens a call between our two addresses.
    pub(crate) fn open(&self, call: u16) {
        let [a, b] = self.near;
        let a = LegPorts { bind: a, ..self.rig.a(call) };
        let b = LegPorts { bind: b, ..self.rig.b(call) };
        self.rig.engine.open(id(call), 0, a, b, [7; 32]).unwrap();
    }

    /// Opens and connects the call anew.
    pub(crate) fn again(&mut self, first: u16) {
        self.rig.close(0);
        // A process that another test is just making holds what was open for a moment.
        loop {
            self.open(0);
            self.rig.engine.stats(id(0), 0).unwrap();
            match self.rig.event() {
                Event::Stats { .. } => break,
                Event::OpenFailed { .. } => {}
                other => panic!("{other:?} instead of counters"),
            }
        }
        let terms = Terms::default();
        let leg = |socket| Some(Carriage { stream: stream(socket, socket), terms: terms.clone() });
        self.rig.engine.connect(id(0), 0, leg(&self.a), leg(&self.b)).unwrap();
        self.rig.stats(0);
        self.next = [first; 2];
    }

    /// Both flows are in the kernel.
    pub(crate) fn offloaded(way: Way, v6: bool) -> Option<Self> {
        let mut lab = Self::new(way, v6)?;
        lab.until_offloaded();
        Some(lab)
    }

    pub(crate) fn until_offloaded(&mut self) {
        let start = Instant::now();
        loop {
            self.speak(Side::A);
            self.speak(Side::B);
            let (_, carried) = self.rig.carried(0);
            if carried.iter().all(|it| it.by == self.way.datapath()) {
                assert!(carried.iter().all(|it| it.why_not_faster.is_empty()));
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{:?}: {carried:?}", self.way);
            std::thread::yield_now();
        }
    }

    pub(crate) fn far(&self, side: Side) -> &UdpSocket {
        match side {
            Side::A => &self.a,
            Side::B => &self.b,
        }
    }

    pub(crate) fn near_of(&self, side: Side) -> SocketAddr {
        let ports = match side {
            Side::A => self.rig.a(0),
            Side::B => self.rig.b(0),
        };
        SocketAddr::new(self.near[side as usize], ports.rtp)
    }

    pub(crate) fn says(&self, side: Side, packet: &[u8]) {
        self.far(side).send_to(packet, self.near_of(side)).unwrap();
    }

    /// What a side hears, from where it must come.
    pub(crate) fn hears(&self, side: Side) -> Vec<u8> {
        let (packet, from) = receive(self.far(side));
        assert_eq!(from, self.near_of(side));
        packet
    }

    /// The next packet of a side crosses.
    pub(crate) fn speak(&mut self, side: Side) {
        let number = self.next[side as usize];
        self.next[side as usize] = number.wrapping_add(1);
        let packet = rtp(side as u32 + 1, number);
        self.says(side, &packet);
        assert_eq!(self.hears(side.other()), packet, "{:?}", self.way);
    }

    /// What was counted so far.
    pub(crate) fn totals(&self) -> Totals {
        // What the kernel sends on is read when somebody asks for it.
        self.rig.stats(0);
        // What is published is a second old at most: a call that opens has it published.
        self.open(1);
        self.rig.close(1);
        self.rig.engine.totals()
    }

    /// How many packets the kernel has sent on.
    pub(crate) fn offloaded_packets(&self) -> u64 {
        self.totals().offloaded
    }
}

/// A datapath's lab for each way and family, as far as this process may have one.
pub(crate) fn labs() -> impl Iterator<Item = Lab> {
    let each = Way::ALL.into_iter().flat_map(|way| [(way, false), (way, true)]);
    let by_engines = [
        (EngineKind::Steer, Way::Loopback),
        (EngineKind::Steer, Way::Between),
        (EngineKind::Xdp, Way::Xdp),
        (EngineKind::Xdp, Way::Between),
    ];
    let by_engines = by_engines.into_iter().filter_map(|(engine, way)| Lab::by(engine, way, false));
    let labs = each.filter_map(|(way, v6)| Lab::new(way, v6)).chain(by_engines);
    labs.map(|mut lab| {
        lab.until_offloaded();
        lab
    })
}
