//! What the system has to give for the media that is configured, and what to do where it does not:
//! said by `tollgate check`, at start and at each reload.

use b2bua::Plan;
use b2bua::plan::{Listener, MediaAddress};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;

/// The system, as far as it is looked at.
pub(crate) trait System {
    /// The text of a file of `/proc`.
    fn read(&self, path: &str) -> Option<String>;
    /// Whether a UDP port can be bound.
    fn bind(&self, address: SocketAddr) -> io::Result<()>;
}

/// The one we run on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Here;

impl System for Here {
    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(path).ok()
    }
    fn bind(&self, address: SocketAddr) -> io::Result<()> {
        UdpSocket::bind(address).map(drop)
    }
}

/// Something that will cost packets or calls, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Shortfall {
    pub(crate) what: String,
    pub(crate) mend: String,
}

impl From<media_engine::Lack> for Shortfall {
    fn from(lack: media_engine::Lack) -> Self {
        Self { what: lack.what, mend: lack.mend.to_owned() }
    }
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.what, self.mend)
    }
}

/// Everything that is short for `plan`. `idle` says that no call of ours holds a port: then every
/// port of a range that is bound is somebody else's.
pub(crate) fn shortfalls(plan: &Plan, system: &dyn System, idle: bool) -> Vec<Shortfall> {
    let look = Look { plan, system };
    let mut found = look.addresses();
    found.extend(look.listeners());
    found.extend(look.files());
    found.extend(look.ephemeral());
    if idle {
        found.extend(look.taken());
    }
    found.extend(look.conntrack());
    found.extend(look.receive_buffer());
    found
}

/// The media addresses of `plan` that are not on this host, each with the reason.
pub(crate) fn unbindable(plan: &Plan, system: &dyn System) -> Vec<Shortfall> {
    Look { plan, system }.addresses()
}

/// What is no fault, and worth knowing where audio is lost all the same.
pub(crate) fn remark(system: &dyn System) -> Option<&'static str> {
    system.read(CONNTRACK_MAX).map(|_| {
        "connection tracking is loaded: unless the firewall exempts the media ports from it \
         (notrack), it looks at every packet of audio"
    })
}

const CONNTRACK_MAX: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const CONNTRACK_UDP: &str = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout_stream";
const EPHEMERAL: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
const RECEIVE_MAX: &str = "/proc/sys/net/core/rmem_max";
const LIMITS: &str = "/proc/self/limits";
const BOUND: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];

/// RTP and RTCP on either leg.
const SOCKETS_PER_CALL: u64 = 4;
/// Descriptors that are not media: listeners, connections to trunks, files, the daemon's own.
const OTHER_FILES: u64 = 1024;
/// What a media socket asks for (`media_engine::socket`).
const RECEIVE_BUFFER: u64 = 32 * 1024;
/// A call on hold may be without packets for as long as a hold lasts; a minute is the least.
const CONNTRACK_UDP_MIN_S: u64 = 60;
/// Ports that are named where others hold them.
const NAMED_MAX: usize = 4;

const BIND_AN_OWN: &str = "bind an address of this host (ip address), or 0.0.0.0";

struct Look<'a> {
    plan: &'a Plan,
    system: &'a dyn System,
}

impl Look<'_> {
    /// The calls that the ports or `calls_max` allow, whichever is less.
    fn calls(&self) -> u64 {
        let ports = self.plan.media.iter().map(|address| address.ports.len() as u64).sum::<u64>();
        (ports / SOCKETS_PER_CALL).min(self.plan.node.calls_max as u64)
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.system.read(path)?.trim().parse().ok()
    }

    fn addresses(&self) -> Vec<Shortfall> {
        let cannot = |address: &MediaAddress| {
            let error = self.system.bind(SocketAddr::new(address.bind, 0)).err()?;
            Some(Shortfall {
                what: format!(
                    "media address \"{}\": {} cannot be bound: {error}",
                    address.name, address.bind
                ),
                mend: BIND_AN_OWN.to_owned(),
            })
        };
        self.plan.media.iter().filter_map(cannot).collect()
    }

    /// Listeners on addresses that are not on this host; whether the port is free does not matter here.
    fn listeners(&self) -> Vec<Shortfall> {
        let cannot = |listener: &Listener| {
            let ip = listener.bind.ip();
            let error = self.system.bind(SocketAddr::new(ip, 0)).err()?;
            Some(Shortfall {
                what: format!("listener \"{}\": {ip} cannot be bound: {error}", listener.name),
                mend: BIND_AN_OWN.to_owned(),
            })
        };
        self.plan.listeners.iter().filter_map(cannot).collect()
    }

    fn files(&self) -> Option<Shortfall> {
        let limits = self.system.read(LIMITS)?;
        let line = limits.lines().find(|line| line.starts_with("Max open files"))?;
        // The daemon raises what is in force to what may be, which is the second number.
        let hard = line.split_ascii_whitespace().nth(4)?.parse::<u64>().ok()?;
        let needed = self.calls() * SOCKETS_PER_CALL + OTHER_FILES;
        (hard < needed).then(|| Shortfall {
            what: format!(
                "{hard} open files are allowed, and {} calls take {needed}",
                self.calls()
            ),
            mend: format!("LimitNOFILE={needed} in the unit, or ulimit -Hn, or a lower calls_max"),
        })
    }

    fn ephemeral(&self) -> Option<Shortfall> {
        let text = self.system.read(EPHEMERAL)?;
        let mut ends = text.split_ascii_whitespace().map(str::parse::<u16>);
        let (Some(Ok(first)), Some(Ok(last))) = (ends.next(), ends.next()) else { return None };
        let reserved = ranges(&self.system.read(RESERVED).unwrap_or_default());
        let is_open = |port: &u16| {
            (first..=last).contains(port) && !reserved.iter().any(|range| range.contains(port))
        };
        let given: Vec<&MediaAddress> = self
            .plan
            .media
            .iter()
            .filter(|address| address.ports.clone().any(|p| is_open(&p)))
            .collect();
        let address = given.first()?;
        let mut keep: Vec<String> = reserved.iter().map(written).collect();
        keep.extend(given.iter().map(|address| written(&address.ports)));
        Some(Shortfall {
            what: format!(
                "media address \"{}\": the system gives ports {} to anybody who asks for any \
                 (net.ipv4.ip_local_port_range {first}-{last})",
                address.name,
                written(&address.ports)
            ),
            mend: format!("sysctl -w net.ipv4.ip_local_reserved_ports={}", keep.join(",")),
        })
    }

    fn taken(&self) -> Option<Shortfall> {
        let mut taken: Vec<u16> = Vec::new();
        for (file, v6) in BOUND.into_iter().zip([false, true]) {
            for (ip, port) in self.system.read(file).iter().flat_map(|text| bound(text, v6)) {
                let ours = |address: &MediaAddress| {
                    let collides = address.bind == ip
                        || address.bind.is_ipv4() == ip.is_ipv4()
                            && (address.bind.is_unspecified() || ip.is_unspecified());
                    // A socket on [::] has the port of 0.0.0.0 as well, unless it says otherwise.
                    let both = ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
                    (collides || both) && address.ports.contains(&port)
                };
                if self.plan.media.iter().any(ours) && !taken.contains(&port) {
                    taken.push(port);
                }
            }
        }
        taken.sort_unstable();
        let named: Vec<String> = taken.iter().take(NAMED_MAX).map(u16::to_string).collect();
        let more = if taken.len() > NAMED_MAX { ", ..." } else { "" };
        (!taken.is_empty()).then(|| Shortfall {
            what: format!("somebody else holds media ports: {}{more}", named.join(", ")),
            mend: format!(
                "calls that draw one fail: find out who it is (ss -lunp sport = :{}), or choose other ports",
                named[0]
            ),
        })
    }

    fn conntrack(&self) -> Vec<Shortfall> {
        let mut found = Vec::new();
        let exempt = self.plan.media.first().map_or_else(String::new, |address| {
            format!(
                "nft add rule inet raw prerouting udp dport {} notrack, likewise for output and sport",
                written(&address.ports)
            )
        });
        let needed = 2 * SOCKETS_PER_CALL * self.calls();
        if let Some(max) = self.number(CONNTRACK_MAX)
            && max < needed
        {
            found.push(Shortfall {
                what: format!(
                    "connection tracking holds {max} flows (net.netfilter.nf_conntrack_max), and {} \
                     calls may make {needed}: beyond it packets are dropped",
                    self.calls()
                ),
                mend: format!("sysctl -w net.netfilter.nf_conntrack_max={needed}, or {exempt}"),
            });
        }
        if let Some(timeout_s) = self.number(CONNTRACK_UDP)
            && timeout_s < CONNTRACK_UDP_MIN_S
        {
            found.push(Shortfall {
                what: format!(
                    "connection tracking forgets a stream after {timeout_s} s of silence \
                     (net.netfilter.nf_conntrack_udp_timeout_stream), such as a hold"
                ),
                mend: format!(
                    "sysctl -w net.netfilter.nf_conntrack_udp_timeout_stream=180, or {exempt}"
                ),
            });
        }
        found
    }

    fn receive_buffer(&self) -> Option<Shortfall> {
        let max = self.number(RECEIVE_MAX)?;
        (max < RECEIVE_BUFFER).then(|| Shortfall {
            what: format!(
                "a socket may keep {max} octets (net.core.rmem_max), less than voice wants"
            ),
            mend: format!("sysctl -w net.core.rmem_max={RECEIVE_BUFFER}, or more"),
        })
    }
}

/// `1-3,7` as ranges.
fn ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.trim().split(',').filter_map(range).collect()
}

fn written(range: &RangeInclusive<u16>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}-{}", range.start(), range.end()),
    }
}

/// The local addresses in `/proc/net/udp` or `udp6`: words of 32 bits in the order of this machine.
fn bound(text: &str, v6: bool) -> impl Iterator<Item = (IpAddr, u16)> {
    text.lines().skip(1).filter_map(move |line| {
        let (ip, port) = line.split_ascii_whitespace().nth(1)?.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let word = |at: usize| {
            let word = u32::from_str_radix(ip.get(8 * at..8 * at + 8)?, 16).ok()?;
            Some(word.to_ne_bytes())
        };
        let ip = match v6 {
            false => IpAddr::from(Ipv4Addr::from(word(0)?)),
            true => {
                let mut octets = [0; 16];
                for (at, place) in octets.chunks_exact_mut(4).enumerate() {
                    place.copy_from_slice(&word(at)?);
                }
                IpAddr::from(Ipv6Addr::from(octets))
            }
        };
        Some((ip, port))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2bua::plan::{Node, Transport};
    use std::collections::BTreeMap;

    /// A host that has enough of everything, but for what is set in it.
    struct Host(BTreeMap<&'static str, &'static str>);

    impl Host {
        fn with(changes: &[(&'static str, &'static str)]) -> Self {
            let mut files = BTreeMap::from([
                (EPHEMERAL, "32768\t60999\n"),
                (RESERVED, "\n"),
                (RECEIVE_MAX, "212992\n"),
                (
                    LIMITS,
                    "Limit  Soft  Hard  Units\nMax open files            1024                 524288               files     \n",
                ),
            ]);
            files.extend(changes.iter().copied());
            Self(files)
        }
    }

    impl System for Host {
        fn read(&self, path: &str) -> Option<String> {
            self.0.get(path).map(|text| (*text).to_owned())
        }
        fn bind(&self, address: SocketAddr) -> io::Result<()> {
            match address.ip() == IpAddr::from([198, 51, 100, 1]) {
                true => Err(io::ErrorKind::AddrNotAvailable.into()),
                false => Ok(()),
            }
        }
    }

    fn plan(bind: [u8; 4], ports: RangeInclusive<u16>) -> Plan {
        let address = MediaAddress {
            name: "outside".into(),
            bind: bind.into(),
            advertise: [203, 0, 113, 10].into(),
            ports,
            dscp: 46,
        };
        let node = Node { calls_max: 10_000, ..Node::default() };
        Plan { media: vec![address].into(), node, ..Plan::default() }
    }

    fn found(plan: &Plan, changes: &[(&'static str, &'static str)]) -> Vec<String> {
        let found = shortfalls(plan, &Host::with(changes), true);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_system_that_has_enough_is_left_in_peace() {
        let usual = plan([0; 4], 20_000..=29_999);
        assert_eq!(found(&usual, &[]), [""; 0]);
        assert_eq!(remark(&Host::with(&[])), None);
        let tracked = [(CONNTRACK_MAX, "262144\n"), (CONNTRACK_UDP, "120\n")];
        assert_eq!(found(&usual, &tracked), [""; 0]);
        assert!(remark(&Host::with(&tracked)).is_some());
    }

    #[test]
    fn each_shortfall_is_named_with_what_mends_it() {
        let usual = plan([0; 4], 20_000..=29_999);
        let table: &[(&'static str, &'static str, &[&str])] = &[
            (
                LIMITS,
                "Max open files 1024 4096 files",
                &["4096 open files", "2500 calls take 11024", "LimitNOFILE=11024"],
            ),
            (
                EPHEMERAL,
                "15000\t60999",
                &["ports 20000-29999", "15000-60999", "ip_local_reserved_ports=20000-29999"],
            ),
            (CONNTRACK_MAX, "4096", &["4096 flows", "20000", "nf_conntrack_max=20000", "notrack"]),
            (CONNTRACK_UDP, "30", &["after 30 s", "udp_timeout_stream=180"]),
            (RECEIVE_MAX, "16384", &["16384 octets", "rmem_max=32768"]),
        ];
        for (path, text, words) in table {
            let found = found(&usual, &[(path, text)]);
            assert_eq!(found.len(), 1, "{path}: {found:?}");
            assert!(words.iter().all(|word| found[0].contains(word)), "{found:?}");
        }
        let away = found(&plan([198, 51, 100, 1], 20_000..=29_999), &[]);
        assert!(away[0].contains("198.51.100.1 cannot be bound"), "{away:?}");
        let mut elsewhere = usual;
        elsewhere.listeners.push(Listener {
            name: "teams".into(),
            transport: Transport::Tls,
            bind: "198.51.100.1:5061".parse().unwrap(),
            advertise: "203.0.113.10:5061".parse().unwrap(),
            certificate: None,
        });
        let away = found(&elsewhere, &[]);
        assert!(away[0].starts_with("listener \"teams\": 198.51.100.1 cannot be"), "{away:?}");
    }

    #[test]
    fn reserved_ports_are_given_to_nobody_and_stay_reserved() {
        let ours = plan([0; 4], 40_000..=40_999);
        let all = [(RESERVED, "5060,40000-40999\n")];
        assert_eq!(found(&ours, &all), [""; 0]);
        let part = found(&ours, &[(RESERVED, "5060,40000-40499\n")]);
        assert!(part[0].ends_with("reserved_ports=5060,40000-40499,40000-40999"), "{part:?}");
    }

    #[test]
    fn a_port_that_somebody_else_holds_is_told_where_it_collides() {
        const V4: &str = "  sl  local_address rem_address   st\n\
             97: 0100007F:4E20 00000000:0000 07\n\
             98: 00000000:4E24 00000000:0000 07\n\
             99: 00000000:0035 00000000:0000 07\n";
        const V6: &str = "  sl  local_address remote_address st\n\
             97: 00000000000000000000000000000000:4E26 00000000000000000000000000000000:0000 07\n\
             98: 00000000000000000000000001000000:4E28 00000000000000000000000000000000:0000 07\n";
        let held = [(BOUND[0], V4), (BOUND[1], V6)];
        let told = found(&plan([127, 0, 0, 1], 20_000..=20_999), &held);
        assert!(told[0].contains("holds media ports: 20000, 20004, 20006;"), "{told:?}");
        let told = found(&plan([127, 0, 0, 2], 20_000..=20_999), &held);
        assert!(told[0].contains("holds media ports: 20004, 20006;"), "{told:?}");
        let busy = shortfalls(&plan([0; 4], 20_000..=20_999), &Host::with(&held), false);
        assert_eq!(busy, []);
    }
}
