//! What the kernel tells, in network namespaces of the tests' own, and what no kernel would say.

use super::netlink::Messages;
use super::*;
use crate::namespace::Namespace;
use std::time::{Duration, Instant};

const NEAR: &str = "02:00:00:00:00:01";
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A namespace with one end of a cable in it, whose other end is in the second.
pub(crate) fn wired() -> Option<(Namespace, Namespace)> {
    let (near, far) = (Namespace::new()?, Namespace::new()?);
    near.cable("near", &far, "far");
    near.ip(&format!("link set near address {NEAR} mtu 1400 up"));
    far.ip("link set far address 02:00:00:00:00:02 mtu 1400 up");
    near.ip("addr add 10.1.0.1/24 dev near");
    near.ip("addr add fd00::1/64 dev near nodad");
    far.ip("addr add 10.1.0.2/24 dev far");
    far.ip("addr add fd00::2/64 dev far nodad");
    // The kernel lays the way to an address of IPv6 a moment after it has taken it.
    for (side, local) in [(&near, "fd00::1"), (&far, "fd00::2")] {
        side.run(move || while !has_way_to(local) {});
    }
    Some((near, far))
}

/// Asked for without `ip`: that would be a process for each look.
fn has_way_to(local: &str) -> bool {
    let octets = local.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let host = octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>() + " 80 ";
    let routes = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
    routes.lines().any(|route| route.starts_with(&host))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ready(hop: Hop) -> Link {
    match hop {
        Hop::Ready(link) => link,
        other => panic!("{other:?}"),
    }
}

/// Follows until something has changed.
#[expect(clippy::disallowed_methods, reason = "the kernel tells when it likes")]
fn changed(routes: &mut Routes) {
    let (before, start) = (routes.generation(), Instant::now());
    while routes.generation() == before {
        assert!(start.elapsed() < Duration::from_secs(10), "nothing has changed");
        routes.follow();
    }
    // What belongs to the same change.
    routes.follow();
}

#[test]
fn a_way_is_not_followed_as_it_changes() {
    let Some((near, _far)) = wired() else { return };
    let mut routes = near.run(Routes::new).unwrap();
    assert!(routes.local().iter().any(|(local, _)| *local == ip("10.1.0.1")));
    for (from, to) in [("10.1.0.1", "10.1.0.9"), ("fd00::1", "fd00::9")] {
        let (from, to) = (ip(from), ip(to));
        assert!(matches!(routes.hop(from, to), Hop::Asking(interface) if interface > 0));
        near.ip(&format!("neigh replace {to} lladdr 02:00:00:00:00:02 dev near nud reachable"));
        changed(&mut routes);
        let link = ready(routes.hop(from, to));
        assert_eq!((link.mac, link.source_mac), (FAR, [2, 0, 0, 0, 0, 1]));
        assert_eq!((link.mtu, link.vlan, link.loopback), (1400, None, false));
        assert_eq!((link.from, link.interface), (from, link.device));

        near.ip(&format!("neigh replace {to} lladdr 02:00:00:00:00:03 dev near nud reachable"));
        changed(&mut routes);
        assert_eq!(ready(routes.hop(from, to)).mac[5], 3, "{to}");

        near.ip(&format!("neigh del {to} dev near"));
        changed(&mut routes);
        assert!(matches!(routes.hop(from, to), Hop::Asking(_)), "{to}");
    }

    // A gateway, and then another one with a narrower path.
    let (from, to) = (ip("10.1.0.1"), ip("192.0.2.1"));
    assert_eq!(routes.hop(from, to), Hop::Unreachable);
    near.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
    near.ip("neigh replace 10.1.0.3 lladdr 02:00:00:00:00:03 dev near nud permanent");
    near.ip("route add default via 10.1.0.2");
    changed(&mut routes);
    assert_eq!(ready(routes.hop(from, to)).mac, FAR);
    near.ip("route add 192.0.2.0/24 via 10.1.0.3 mtu 1300");
    changed(&mut routes);
    let link = ready(routes.hop(from, to));
    assert_eq!((link.mac[5], link.mtu), (3, 1300));
    let before = routes.generation();
    near.ip("route add 198.51.100.0/24 via 10.1.0.3");
    routes.follow();
    assert_eq!(routes.generation(), before, "a route to where nobody is");

    // What only the source decides.
    near.ip("rule add from 10.1.0.1 table 7");
    near.ip("route add unreachable default table 7");
    changed(&mut routes);
    assert_eq!(routes.hop(from, to), Hop::Unreachable);
    near.ip("rule del from 10.1.0.1 table 7");
    changed(&mut routes);
    assert_eq!(ready(routes.hop(from, to)).mac[5], 3);

    near.ip("link set near mtu 1280");
    changed(&mut routes);
    assert_eq!(ready(routes.hop(from, to)).mtu, 1280);
    near.ip("link set near down");
    changed(&mut routes);
    assert_eq!(routes.hop(from, to), Hop::Unreachable);
    near.ip("link del near");
    changed(&mut routes);
    assert!(routes.local().iter().all(|(local, _)| local.is_loopback()));
}

#[test]
fn who_comes_with_each_batch_asks_in_vain_or_hears_late() {
    let Some((near, _far)) = wired() else { return };
    let mut routes = near.run(Routes::new).unwrap();
    let (from, to, new) = (ip("10.1.0.1"), ip("10.1.0.9"), ip("10.1.0.8"));
    let start = crate::clock::now().mono;
    routes.follow_in_time(start);
    assert!(matches!(routes.hop(from, to), Hop::Asking(_)));
    let looks = routes.looks;
    for address in [to, new] {
        near.ip(&format!("neigh add {address} lladdr 02:00:00:00:00:02 dev near nud permanent"));
    }
    let before = routes.generation();
    for ahead in [Duration::from_micros(1), FOLLOW_EVERY - Duration::from_micros(1)] {
        routes.follow_in_time(start + ahead);
    }
    assert_eq!((routes.generation(), routes.looks), (before, looks));
    // Whom nobody was sent to yet is found all the same, and what was told meanwhile with it.
    assert_eq!(ready(routes.hop(from, new)).mac, FAR);
    assert_ne!(routes.generation(), before);
    assert_eq!(ready(routes.hop(from, to)).mac, FAR);

    near.ip(&format!("neigh replace {to} lladdr 02:00:00:00:00:03 dev near nud permanent"));
    let before = routes.generation();
    routes.follow_in_time(start + FOLLOW_EVERY);
    assert_ne!(routes.generation(), before);
    assert_eq!(ready(routes.hop(from, to)).mac[5], 3);
}

#[test]
fn an_address_that_is_not_ours_has_a_way() {
    let Some((near, _far)) = wired() else { return };
    let mut routes = near.run(Routes::new).unwrap();
    assert_eq!(routes.hop(ip("10.9.9.9"), ip("10.1.0.2")), Hop::Unreachable);
    assert!(matches!(routes.hop(ip("0.0.0.0"), ip("10.1.0.2")), Hop::Asking(_)));
    near.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
    changed(&mut routes);
    // All of ours: what the route prefers.
    assert_eq!(ready(routes.hop(ip("0.0.0.0"), ip("10.1.0.2"))).from, ip("10.1.0.1"));
    assert!(matches!(routes.hop(ip("::"), ip("fd00::2")), Hop::Asking(_)));
    near.ip("neigh replace fd00::2 lladdr 02:00:00:00:00:02 dev near nud permanent");
    changed(&mut routes);
    assert_eq!(ready(routes.hop(ip("::"), ip("fd00::2"))).from, ip("fd00::1"));
}

#[test]
fn what_stays_here_is_asked_for() {
    let Some((near, _far)) = wired() else { return };
    let mut routes = near.run(Routes::new).unwrap();
    for (from, to) in [("127.0.0.1", "127.0.0.1"), ("10.1.0.1", "10.1.0.1"), ("::1", "fd00::1")] {
        let link = ready(routes.hop(ip(from), ip(to)));
        assert!(link.loopback, "{to}");
        assert_eq!((link.interface, link.mac), (1, [0; 6]), "{to}");
    }
}

/// A neighbour that only packets with headers of our own go to is asked for again, and found gone.
#[test]
fn a_neighbour_that_is_gone_is_sent_to_for_ever() {
    let Some((near, _far)) = wired() else { return };
    let mut routes = near.run(Routes::new).unwrap();
    let hop = |routes: &mut Routes| routes.hop(ip("10.1.0.1"), ip("10.1.0.2"));
    assert!(matches!(hop(&mut routes), Hop::Asking(_)));
    near.ip("neigh replace 10.1.0.2 lladdr 02:00:00:00:00:09 dev near nud stale");
    changed(&mut routes);
    assert_eq!(ready(hop(&mut routes)).mac[5], 9);
    near.run(|| {
        for (name, value) in [("delay_first_probe_time", "0"), ("retrans_time_ms", "20")] {
            std::fs::write(format!("/proc/sys/net/ipv4/neigh/near/{name}"), value).unwrap();
        }
    });
    // The kernel asks whom it knew, in vain; the packet that it then has to send finds the other.
    routes.confirm();
    changed(&mut routes);
    assert!(matches!(hop(&mut routes), Hop::Asking(_)));
    near.run(|| std::net::UdpSocket::bind("10.1.0.1:0")?.send_to(&[0], "10.1.0.2:9")).unwrap();
    changed(&mut routes);
    assert_eq!(ready(hop(&mut routes)).mac, FAR);
}

#[test]
fn a_host_that_nobody_asked_for_has_all_ways_looked_for_anew() {
    let Some((near, _far)) = wired() else { return };
    let mut routes = near.run(Routes::new).unwrap();
    let (from, asked_for) = (ip("10.1.0.1"), ip("10.1.0.9"));
    assert!(matches!(routes.hop(from, asked_for), Hop::Asking(_)));
    let before = (routes.generation(), routes.layout());
    // A sweep over the network, and a host that gives it up.
    for host in 20..28 {
        near.ip(&format!("neigh add 10.1.0.{host} lladdr 02:00:00:00:00:{host} dev near"));
    }
    near.ip("neigh replace 10.1.0.20 lladdr 02:00:00:00:00:77 dev near");
    near.ip("neigh del 10.1.0.21 dev near");
    routes.follow();
    assert_eq!((routes.generation(), routes.layout()), before);
    assert_eq!(ready(routes.hop(from, ip("10.1.0.20"))).mac[5], 0x77);
    near.ip("neigh replace 10.1.0.9 lladdr 02:00:00:00:00:02 dev near");
    changed(&mut routes);
    assert_eq!(ready(routes.hop(from, asked_for)).mac, FAR);
    assert_eq!(routes.layout(), before.1, "nothing is with interfaces");
    near.ip("addr add 10.1.0.77/24 dev near");
    changed(&mut routes);
    assert_ne!(routes.layout(), before.1);
}

/// What is kept after some messages.
#[derive(Default)]
struct Kept {
    interfaces: HashMap<u32, Interface>,
    neighbours: HashMap<(u32, IpAddr), Neighbour>,
    local: Vec<(IpAddr, u32)>,
}

impl Kept {
    fn take(&mut self, octets: &[u8]) -> Vec<tables::Change> {
        let Self { interfaces, neighbours, local } = self;
        let wanted = &HashSet::new();
        let mut tables = tables::Tables { interfaces, neighbours, wanted, local };
        Messages(octets).map(|message| tables.take(&message)).collect()
    }
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut octets = (4 + value.len() as u16).to_ne_bytes().to_vec();
    octets.extend(kind.to_ne_bytes());
    octets.extend(value);
    octets.resize(octets.len().next_multiple_of(4), 0);
    octets
}

/// That an Ethernet interface is up.
fn interface(index: u32, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut octets = [0_u8; 32];
    octets[4..6].copy_from_slice(&libc::RTM_NEWLINK.to_ne_bytes());
    octets[18..20].copy_from_slice(&libc::ARPHRD_ETHER.to_ne_bytes());
    octets[20..24].copy_from_slice(&index.to_ne_bytes());
    octets[24..28].copy_from_slice(&(libc::IFF_UP as u32).to_ne_bytes());
    let mut octets = [&octets[..], &attributes.concat()].concat();
    let len = octets.len() as u32;
    octets[..4].copy_from_slice(&len.to_ne_bytes());
    octets
}

/// Not every kernel has VLANs, so these messages are written here as one that has them writes them.
#[test]
fn a_tag_is_forgotten() {
    let device = |protocol: u16| {
        let data = [
            attribute(1, &7_u16.to_ne_bytes()),
            attribute(2, &[0; 8]),
            attribute(5, &protocol.to_be_bytes()),
        ];
        let particulars = [
            attribute(libc::IFLA_INFO_KIND, b"vlan\0"),
            attribute(libc::IFLA_INFO_DATA, &data.concat()),
        ];
        interface(
            9,
            &[
                attribute(libc::IFLA_ADDRESS, &FAR),
                attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes()),
                attribute(libc::IFLA_LINK, &2_u32.to_ne_bytes()),
                attribute(libc::IFLA_LINKINFO, &particulars.concat()),
            ],
        )
    };
    let mut kept = Kept::default();
    assert_eq!(kept.take(&device(0x8100)), [tables::Change::Anything]);
    let tagged = Interface { up: true, ethernet: true, mac: FAR, mtu: 1500, vlan: Some((2, 7)) };
    assert_eq!(kept.interfaces.get(&9), Some(&tagged));
    assert_eq!(kept.take(&device(0x8100)), [tables::Change::Nothing]);
    // A service tag is not ours to write.
    kept.take(&device(0x88a8));
    assert!(!kept.interfaces.get(&9).unwrap().ethernet);
    // One end of a cable names the other, and is no VLAN's device for that.
    let particulars = attribute(libc::IFLA_INFO_KIND, b"veth");
    kept.take(&interface(
        9,
        &[
            attribute(libc::IFLA_LINK, &2_u32.to_ne_bytes()),
            attribute(libc::IFLA_LINKINFO, &particulars),
        ],
    ));
    let plain = kept.interfaces.get(&9).unwrap();
    assert_eq!((plain.ethernet, plain.vlan), (true, None));
}

#[test]
fn what_is_cut_is_read() {
    let message = interface(3, &[attribute(libc::IFLA_MTU, &1400_u32.to_ne_bytes())]);
    let read = |octets: &[u8]| {
        let mut kept = Kept::default();
        kept.take(octets);
        kept.interfaces.get(&3).map(|interface| interface.mtu)
    };
    assert_eq!(read(&message), Some(1400));
    assert!((0..message.len()).all(|len| read(&message[..len]).is_none()));
    // Any octet another: read or not, and never beyond the end.
    for at in 0..message.len() {
        for value in 0..=u8::MAX {
            let mut wrong = message.clone();
            wrong[at] = value;
            let _ = read(&wrong);
        }
    }
}
