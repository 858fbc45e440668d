//! Connectivity checks on a leg: who is answered, what it moves, and what it does not (TDR-ICE-*).

use crate::wire::*;
use media::ice::stun::{Class, Key, Message, Writer};
use media::{Carriage, Component, DropReason, Forward, Order, PacketBuf, Side, Terms, Verdict};
use sdp::ice::{Candidate, Credentials, Ice, IceOffered, IceReport, IceState, IceTrouble};
use sdp::{Direction, Notice, Stream};
use std::time::Duration;

/// Where a client checks from, first and after it has moved.
pub(crate) const CLIENT: &str = "198.51.100.77:50012";
pub(crate) const RELAY: &str = "52.112.143.212:52884";

pub(crate) fn ours() -> Credentials {
    Credentials::new("sB1x", "7Gk2mR0yVt4QwLz8cN5hJp3e").unwrap()
}

pub(crate) fn theirs(ufrag: &str) -> Credentials {
    Credentials::new(ufrag, "0aV5bSx1uDkqPq9mZr2cT7yE").unwrap()
}

pub(crate) fn ice(remote: &str) -> Ice {
    Ice {
        local: ours(),
        remote: theirs(remote),
        lite: true,
        remote_lite: false,
        ours_first: true,
        candidates: Vec::new(),
        concluded: false,
    }
}

/// A leg of Teams with SRTP, where ICE is agreed.
pub(crate) fn with(ice: Ice) -> Stream {
    Stream { ice: Some(ice), ..teams_stream() }
}

/// A check as a full agent writes it.
pub(crate) struct CheckOf<'a> {
    to: &'a Credentials,
    from: &'a str,
    priority: u32,
    chooses: bool,
}

impl<'a> CheckOf<'a> {
    pub(crate) fn new(to: &'a Credentials, from: &'a str) -> Self {
        Self { to, from, priority: 1000, chooses: false }
    }
    pub(crate) fn chooses(self) -> Self {
        Self { chooses: true, ..self }
    }
    fn priority(self, priority: u32) -> Self {
        Self { priority, ..self }
    }
    fn write(&self) -> PacketBuf {
        let mut slot = PacketBuf::new();
        let check = Writer::new(&mut slot, Class::Request, [9; 12])
            .username(self.to.ufrag().as_bytes(), self.from.as_bytes())
            .priority(self.priority)
            .role(true, 7)
            // What Lync's agents add; comprehension is required and not there.
            .attribute(0x0054, &[1, 2, 3, 4])
            .attribute(0x8070, &[0, 0, 0, 2]);
        let check = if self.chooses { check.use_candidate() } else { check };
        check.finish(Some(&Key::new(self.to.pwd().as_bytes())));
        slot
    }
}

pub(crate) struct World {
    pub(crate) call: Call,
}

impl World {
    /// A call whose leg A has agreed this.
    pub(crate) fn new(stream: &Stream) -> Self {
        let mut world = Self { call: Call::unconnected() };
        world.connect(stream);
        world
    }

    pub(crate) fn connect(&mut self, stream: &Stream) {
        let terms = Terms { ice_timeout: Some(Duration::from_secs(30)), ..Terms::default() };
        let a = Some(Carriage { stream: stream.clone(), terms });
        self.call.forward.connect(a, leg(&carrier_stream()));
        assert_eq!(self.generate(), None, "who is lite sends no check");
    }

    fn generate(&mut self) -> Option<Verdict> {
        let now = self.call.now();
        self.call.forward.generate(now, &mut PacketBuf::new())
    }

    /// A check comes; the status of its answer, 200 for success, and none if there is none.
    pub(crate) fn check(&mut self, from: &str, check: &CheckOf<'_>) -> Option<u16> {
        self.stun(from, &mut check.write())
    }

    pub(crate) fn stun(&mut self, from: &str, slot: &mut PacketBuf) -> Option<u16> {
        let transaction = Message::read(slot.packet()).map(|asked| asked.transaction);
        match self.call.comes(Side::A, from, slot) {
            Verdict::Forward { side: Side::A, component: Component::Rtp, to } => {
                assert_eq!(to, addr(from));
                let answer = Message::read(slot.packet()).expect("a STUN message");
                assert_eq!(Some(answer.transaction), transaction);
                match answer.class {
                    Class::Success => {
                        assert_eq!(answer.mapped, Some(addr(from)));
                        Some(200)
                    }
                    class => {
                        assert_eq!(class, Class::Error);
                        answer.error
                    }
                }
            }
            Verdict::Forward { .. } => panic!("a check was sent on"),
            Verdict::Consumed | Verdict::Transcode(_) | Verdict::Drop(_) => None,
        }
    }

    /// Where what the carrier says goes to.
    pub(crate) fn goes_to(&mut self) -> Option<String> {
        let sequence = self.call.ms as u16;
        match self.call.comes(Side::B, CARRIER, &mut rtp(8, sequence, 1)) {
            Verdict::Forward { side: Side::A, to, .. } => Some(to.to_string()),
            Verdict::Consumed => None,
            other => panic!("{other:?}"),
        }
    }

    fn ice(&self) -> IceReport {
        self.call.forward.stats().a.ice.expect("ICE is agreed")
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.call.forward.stats().a.drops[reason as usize]
    }

    pub(crate) fn notice(&mut self) -> Option<Notice> {
        self.call.forward.poll_notice().map(|(side, notice)| {
            assert_eq!(side, Side::A);
            notice
        })
    }
}

/// TDR-ICE-002, TDR-ICE-003, TDR-MED-003
#[test]
fn nothing_is_sent_before_a_check_and_then_to_where_it_came_from() {
    let mut world = World::new(&with(ice("Xk3d")));
    assert_eq!(world.goes_to(), None, "nobody has asked for it");
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d")), Some(200));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
    assert_eq!(world.ice().state, IceState::Checked);
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses()), Some(200));
    let report = world.ice();
    assert_eq!((report.state, report.selected), (IceState::Selected, Some(addr(CLIENT))));
    assert_eq!((report.checks_received, report.checks_answered, report.checks_sent), (2, 2, 0));
}

/// TDR-ICE-004, TDR-ICE-007
#[test]
fn before_it_is_chosen_the_pair_of_highest_priority_and_after_the_last_that_was() {
    let mut world = World::new(&with(ice("Xk3d")));
    let ours = ours();
    let check = || CheckOf::new(&ours, "Xk3d").priority(5);
    world.check(RELAY, &check());
    world.check(CLIENT, &check().priority(9));
    world.check(STRANGER, &check().priority(7));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
    world.check(RELAY, &check().chooses());
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
    world.check(CLIENT, &check().priority(9));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY), "a keepalive chooses nothing");
    world.check(STRANGER, &check().chooses());
    assert_eq!(world.goes_to().as_deref(), Some(STRANGER), "it has thought better of it");
}

#[test]
fn the_priority_that_was_signalled_goes_before_that_of_the_check() {
    let mut ice = ice("Xk3d");
    ice.candidates = vec![
        Candidate { component: 1, priority: 900, address: addr(RELAY) },
        Candidate { component: 1, priority: 100, address: addr(CLIENT) },
    ];
    let mut world = World::new(&with(ice));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").priority(5000));
    world.check(RELAY, &CheckOf::new(&ours(), "Xk3d").priority(4000));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
}

/// TDR-ICE-002, TDR-MED-003
#[test]
fn wrong_credentials_are_told_so_and_move_nothing() {
    let mut world = World::new(&with(ice("Xk3d")));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    let before = world.ice();
    let password = Credentials::new("sB1x", "another-password-as-long".replace('-', "+").as_str());
    let user = Credentials::new("sB1y", ours().pwd());
    for wrong in [password.unwrap(), user.unwrap()] {
        assert_eq!(world.check(STRANGER, &CheckOf::new(&wrong, "Xk3d").chooses()), Some(401));
    }
    let mut unsigned = PacketBuf::new();
    let check = Writer::new(&mut unsigned, Class::Request, [9; 12]).username(b"sB1x", b"Xk3d");
    check.finish(None);
    assert_eq!(world.stun(STRANGER, &mut unsigned), Some(400));
    let after = world.ice();
    assert_eq!(IceReport { checks_received: 1, ..after }, before);
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
    assert_eq!(world.drops(DropReason::StunCredentials), 3);
}

#[test]
fn a_flood_of_a_stranger_gets_few_answers_and_the_far_side_all_of_its() {
    let mut world = World::new(&with(ice("Xk3d")));
    let guess = Credentials::new("sB1x", "00000000000000000000000").unwrap();
    let (mut refused, mut answered) = (0, 0);
    for n in 0..2000u32 {
        // All within two seconds, from everywhere.
        world.call.ms = u64::from(n);
        let from = format!("203.0.113.{}:{}", n % 250, 1024 + n);
        let mut slot = CheckOf::new(&guess, "Xk3d").write();
        let now = world.call.now();
        let verdict =
            world.call.forward.packet(now, Side::A, Component::Rtp, addr(&from), &mut slot);
        refused += u32::from(matches!(verdict, Verdict::Forward { .. }));
        if n % 100 == 0 {
            answered += u32::from(world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d")) == Some(200));
        }
    }
    assert_eq!(answered, 20);
    assert!(refused <= 32, "{refused} strangers were answered");
    assert_eq!(world.drops(DropReason::StunCredentials), u64::from(refused));
    assert_eq!(world.drops(DropReason::StunRate), u64::from(2000 - refused));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
}

#[test]
fn one_source_that_is_believed_is_bounded_too() {
    let mut world = World::new(&with(ice("Xk3d")));
    let mut answered = 0;
    for ms in 0..1000 {
        world.call.ms = ms;
        let now = world.call.now();
        let mut slot = CheckOf::new(&ours(), "Xk3d").write();
        let verdict =
            world.call.forward.packet(now, Side::A, Component::Rtp, addr(CLIENT), &mut slot);
        answered += u32::from(matches!(verdict, Verdict::Forward { .. }));
    }
    assert!((35..=45).contains(&answered), "{answered}");
    assert_eq!(world.drops(DropReason::StunRate), u64::from(1000 - answered));
}

/// TDR-ICE-005, TDR-ICE-006
#[test]
fn forks_are_told_apart_and_the_one_that_answers_is_followed() {
    let offered = Order::ExpectChecks(IceOffered { local: ours(), lite: true });
    let mut world = World { call: Call::unconnected() };
    let now = world.call.now();
    world.call.forward.order(now, Side::A, &offered);
    // Checks come before any description says who makes them (TDR-ICE-006).
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "Aaaa").chooses()), Some(200));
    assert_eq!(world.check(RELAY, &CheckOf::new(&ours(), "Bbbb")), Some(200));
    world.connect(&with(ice("Aaaa")));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT), "it was remembered");
    // The 200 is of the other one: media follows it, and its choice is to come.
    world.connect(&with(ice("Bbbb")));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
    assert_eq!(world.ice().state, IceState::Checked);
    world.check(CLIENT, &CheckOf::new(&ours(), "Aaaa").chooses());
    assert_eq!(world.goes_to().as_deref(), Some(RELAY), "who has lost chooses nothing");
    world.check(STRANGER, &CheckOf::new(&ours(), "Bbbb").chooses());
    assert_eq!(world.goes_to().as_deref(), Some(STRANGER));
    // A third that was never heard of before its 200.
    world.connect(&with(ice("Cccc")));
    assert_eq!(world.goes_to(), None);
    world.check(CLIENT, &CheckOf::new(&ours(), "Cccc"));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
    assert_eq!(world.ice().restarts, 0);
}

/// TDR-ICE-005
#[test]
fn more_forks_and_addresses_than_there_is_room_for_are_answered_and_the_signalled_one_has_room() {
    let mut world = World { call: Call::unconnected() };
    let now = world.call.now();
    let offered = Order::ExpectChecks(IceOffered { local: ours(), lite: true });
    world.call.forward.order(now, Side::A, &offered);
    for n in 0..60 {
        let ufrag = format!("fork{n}");
        let from = format!("198.51.100.{n}:5000");
        assert_eq!(world.check(&from, &CheckOf::new(&ours(), &ufrag)), Some(200), "{n}");
    }
    world.connect(&with(ice("fork59")));
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "fork59").chooses()), Some(200));
    for n in 0..60 {
        let from = format!("203.0.113.{n}:5000");
        assert_eq!(world.check(&from, &CheckOf::new(&ours(), "fork59")), Some(200), "{n}");
    }
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT), "the pair in use gives no place away");
    world.check("203.0.113.200:5000", &CheckOf::new(&ours(), "fork59").chooses());
    assert_eq!(world.goes_to().as_deref(), Some("203.0.113.200:5000"), "a new one is learned");
}

/// TDR-ICE-010
#[test]
fn after_a_restart_the_old_pair_serves_until_the_new_one_works() {
    let mut world = World::new(&with(ice("Xk3d")));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    let fresh = Credentials::new("nEw1", "freshfreshfreshfreshfr").unwrap();
    let anew = Ice { local: fresh.clone(), ..ice("Zq9w") };
    world.connect(&with(anew.clone()));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT), "the old pair serves on");
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d")), Some(200));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
    assert_eq!(world.check(RELAY, &CheckOf::new(&fresh, "Zq9w")), Some(200));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d")), Some(401), "they are gone");
    world.connect(&with(anew));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY), "a refresh restarts nothing");
    assert_eq!(world.ice().restarts, 1);
}

/// TDR-ICE-009
#[test]
fn the_pair_that_a_final_offer_names_is_taken_and_nothing_restarts() {
    let mut world = World::new(&with(ice("Xk3d")));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d"));
    world.check(RELAY, &CheckOf::new(&ours(), "Xk3d").priority(1));
    let mut concluded = with(Ice { concluded: true, ..ice("Xk3d") });
    (concluded.remote_rtp, concluded.remote_rtcp) = (Some(addr(RELAY)), Some(addr(RELAY)));
    world.connect(&concluded);
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
    assert_eq!((world.ice().state, world.ice().restarts), (IceState::Selected, 0));
}

/// TDR-ICE-008
#[test]
fn where_both_only_answer_the_signalled_address_holds() {
    let mut world = World::new(&with(Ice { remote_lite: true, ..ice("Xk3d") }));
    assert_eq!(world.goes_to().as_deref(), Some(TEAMS));
    assert_eq!(world.ice().state, IceState::BothLite);
    world.call.ms += 40_000;
    world.generate();
    assert_ne!(world.notice(), Some(Notice::Ice(IceTrouble::NeverCompleted)));
}

/// TDR-ICE-007, TDR-MED-003
#[test]
fn srtp_is_believed_by_its_tag_and_moves_media_nowhere() {
    let mut world = World::new(&with(ice("Xk3d")));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    let mut packet = rtp(7, 1, 1);
    world.call.teams.protect(&mut packet).unwrap();
    let verdict = world.call.comes(Side::A, RELAY, &mut packet);
    assert_eq!(verdict, forward_to(Side::B, CARRIER));
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT), "a check chooses, media does not");
}

#[test]
fn plain_media_is_believed_from_checked_pairs_alone() {
    let plain = Stream { crypto: None, ..with(ice("Xk3d")) };
    let mut world = World::new(&plain);
    let unlatched = Verdict::Drop(DropReason::Unlatched);
    assert_eq!(world.call.comes(Side::A, TEAMS, &mut rtp(7, 1, 1)), unlatched, "never checked");
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d"));
    let passed = forward_to(Side::B, CARRIER);
    assert_eq!(world.call.comes(Side::A, CLIENT, &mut rtp(7, 2, 1)), passed);
    assert_eq!(world.call.comes(Side::A, STRANGER, &mut rtp(7, 3, 1)), unlatched);
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
}

/// TDR-ICE-012
#[test]
fn checks_that_never_come_are_told_once_and_silence_until_somebody_acts() {
    let mut world = World::new(&with(ice("Xk3d")));
    let mut told = Vec::new();
    for _ in 0..62 {
        world.call.ms += 1000;
        world.generate();
        told.extend(world.notice());
    }
    let silent = Notice::Ice(IceTrouble::Silent);
    assert_eq!(told, [Notice::Ice(IceTrouble::NeverCompleted), silent.clone(), silent]);
}

/// TDR-ICE-012
#[test]
fn a_held_leg_may_be_silent_and_a_resumed_one_has_its_time() {
    let held = Stream { direction: Direction::Inactive, ..with(ice("Xk3d")) };
    let mut world = World::new(&held);
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    for _ in 0..60 {
        world.call.ms += 10_000;
        world.generate();
        assert_eq!(world.notice(), None);
    }
    world.connect(&with(ice("Xk3d")));
    world.call.ms += 29_000;
    world.generate();
    assert_eq!(world.notice(), None);
    // A keepalive without an answer is a sign of life, too.
    let mut alive = PacketBuf::new();
    Writer::new(&mut alive, Class::Indication, [9; 12]).finish(None);
    assert_eq!(world.stun(CLIENT, &mut alive), None);
    world.call.ms += 29_000;
    world.generate();
    assert_eq!(world.notice(), None);
    world.call.ms += 2_000;
    world.generate();
    assert_eq!(world.notice(), Some(Notice::Ice(IceTrouble::Silent)));
}

#[test]
fn a_leg_that_leaves_ice_wants_nothing_more() {
    let mut world = World::new(&with(ice("Xk3d")));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    world.connect(&teams_stream());
    for _ in 0..20 {
        world.call.ms += 1000;
        while world.generate().is_some() {}
        let due = world.call.forward.next_due();
        assert!(due.is_none_or(|due| due > world.call.now().mono), "a deadline does not move");
    }
    assert_eq!(world.goes_to().as_deref(), Some(TEAMS));
}

/// TDR-ICE-001
#[test]
fn a_leg_without_ice_answers_nobody() {
    let mut call = Call::new();
    let mut check = CheckOf::new(&ours(), "Xk3d").write();
    assert_eq!(call.comes(Side::A, CLIENT, &mut check), Verdict::Consumed);
    assert_eq!(call.forward.stats().a.ice, None);
}

/// TDR-ICE-003
#[test]
fn what_is_no_check_changes_a_count_and_nothing_else() {
    let mut dice = Dice(5);
    let mut world = World::new(&with(ice("Xk3d")));
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    let before = world.ice();
    for _ in 0..5000 {
        let mut slot = CheckOf::new(&ours(), "Xk3d").chooses().write();
        for _ in 0..=dice.below(3) {
            let at = dice.below(slot.len() as u64) as usize;
            slot.packet_mut()[at] ^= 1 << dice.below(8);
        }
        if let Some(message) = Message::read(slot.packet())
            && message.is_authentic(&Key::new(ours().pwd().as_bytes()))
        {
            continue;
        }
        assert_ne!(world.stun(STRANGER, &mut slot), Some(200));
    }
    let after = world.ice();
    assert_eq!(
        IceReport { checks_received: 0, ..after },
        IceReport { checks_received: 0, ..before }
    );
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
}

/// Two full agents, each a leg of a call of its own, on a network that may lose what it likes.
mod full {
    use super::*;
    use media::ice::Agent;
    use std::collections::VecDeque;
    use std::net::SocketAddr;

    struct Peer {
        agent: Agent,
        at: Vec<SocketAddr>,
    }

    fn agreed(local: &str, remote: &str, ours_first: bool, at: &[SocketAddr]) -> Ice {
        let candidates = at.iter().enumerate().map(|(n, address)| Candidate {
            component: 1 + (n % 2) as u8,
            priority: 1000 - n as u32,
            address: *address,
        });
        Ice {
            local: theirs(local),
            remote: theirs(remote),
            lite: false,
            ours_first,
            candidates: candidates.collect(),
            ..ice("none")
        }
    }

    /// Lets two agents check each other for so long; `passes` says what the network lets through.
    fn run(
        peers: &mut [Peer; 2],
        (from_ms, to_ms): (u64, u64),
        passes: impl Fn(SocketAddr, SocketAddr, u64) -> bool,
    ) {
        let mut wire: VecDeque<(u64, SocketAddr, SocketAddr, PacketBuf)> = VecDeque::new();
        for ms in (from_ms..to_ms).step_by(5) {
            let instant = now(ms).mono;
            while wire.front().is_some_and(|(due, ..)| *due <= ms) {
                let (_, source, to, mut slot) = wire.pop_front().unwrap();
                let Some(peer) = peers.iter_mut().find(|peer| peer.at.contains(&to)) else {
                    continue;
                };
                let component = peer.at.iter().position(|at| *at == to).unwrap() % 2;
                let component = [Component::Rtp, Component::Rtcp][component];
                if let Ok(Some(_)) = peer.agent.packet(instant, component, source, &mut slot)
                    && passes(to, source, ms)
                {
                    wire.push_back((ms + 20, to, source, slot));
                }
            }
            for peer in peers.iter_mut() {
                let mut slot = PacketBuf::new();
                while let Some((component, to)) = peer.agent.generate(instant, &mut slot) {
                    let source = peer.at[component as usize];
                    if passes(source, to, ms) {
                        wire.push_back((ms + 20, source, to, slot.clone()));
                    }
                }
            }
        }
    }

    fn pair(a_first: bool, b_first: bool) -> [Peer; 2] {
        let (at_a, at_b) = (
            vec![addr("192.0.2.1:4000"), addr("192.0.2.1:4001")],
            vec![addr("192.0.2.2:5000"), addr("192.0.2.2:5001")],
        );
        let mut a = Peer { agent: Agent::new(&[1; 16]), at: at_a.clone() };
        let mut b = Peer { agent: Agent::new(&[2; 16]), at: at_b.clone() };
        a.agent.agree(&agreed("aaaa", "bbbb", a_first, &at_b), &Stream::default(), None);
        b.agent.agree(&agreed("bbbb", "aaaa", b_first, &at_a), &Stream::default(), None);
        [a, b]
    }

    fn both_selected(peers: &[Peer; 2]) {
        for (peer, other) in [(&peers[0], &peers[1]), (&peers[1], &peers[0])] {
            assert_eq!(peer.agent.report().unwrap().state, IceState::Selected);
            for component in [Component::Rtp, Component::Rtcp] {
                let to = peer.agent.destination(component);
                assert_eq!(to, Some(other.at[component as usize]), "{component:?}");
            }
        }
    }

    #[test]
    fn two_agents_find_each_other_on_both_components() {
        let mut peers = pair(true, false);
        run(&mut peers, (0, 1000), |_, _, _| true);
        both_selected(&peers);
        let sent = peers[0].agent.report().unwrap().checks_sent;
        assert!(sent <= 8, "{sent} checks where six would do");
    }

    #[test]
    fn lost_checks_are_repeated() {
        let mut peers = pair(true, false);
        run(&mut peers, (0, 4000), |_, _, ms| ms > 700);
        both_selected(&peers);
    }

    #[test]
    fn agents_that_both_lead_or_both_follow_come_to_terms() {
        for both in [true, false] {
            let mut peers = pair(both, both);
            run(&mut peers, (0, 4000), |_, _, _| true);
            both_selected(&peers);
        }
    }

    #[test]
    fn an_address_that_nobody_named_is_learned_from_its_checks() {
        let mut peers = pair(true, false);
        // B is behind a NAT: what it was told of is not where it comes from.
        let named = [addr("10.0.0.2:5000"), addr("10.0.0.2:5001")];
        let ice = agreed("aaaa", "bbbb", true, &named);
        peers[0].agent = Agent::new(&[1; 16]);
        peers[0].agent.agree(&ice, &Stream::default(), None);
        run(&mut peers, (0, 3000), |_, to, _| !named.contains(&to));
        both_selected(&peers);
    }

    #[test]
    fn consent_that_is_not_renewed_ends_the_sending() {
        let mut peers = pair(true, false);
        run(&mut peers, (0, 60_000), |_, _, _| true);
        both_selected(&peers);
        run(&mut peers, (60_000, 80_000), |_, _, _| false);
        both_selected(&peers);
        run(&mut peers, (80_000, 100_000), |_, _, _| false);
        for peer in &mut peers {
            assert_eq!(peer.agent.report().unwrap().state, IceState::ConsentLost);
            assert_eq!(peer.agent.take_trouble(), Some(IceTrouble::ConsentLost));
            assert_eq!(peer.agent.destination(Component::Rtp), None);
        }
    }

    #[test]
    fn a_stranger_cannot_answer_for_the_far_side() {
        let mut peers = pair(true, false);
        let mut slot = PacketBuf::new();
        let check = peers[0].agent.generate(now(0).mono, &mut slot);
        assert!(check.is_some());
        let transaction = Message::read(slot.packet()).unwrap().transaction;
        let far = peers[1].at[0];
        for (class, key) in [
            (Class::Success, None),
            (Class::Success, Some(Key::new(b"guessguessguessguessguess"))),
            (Class::Error, None),
        ] {
            let answer = Writer::new(&mut slot, class, transaction);
            let answer = if class == Class::Error { answer.error(401) } else { answer.mapped(far) };
            answer.finish(key.as_ref());
            let taken = peers[0].agent.packet(now(1).mono, Component::Rtp, far, &mut slot);
            assert_eq!(taken, Err(DropReason::StunCredentials));
        }
        run(&mut peers, (5, 2000), |_, _, _| true);
        both_selected(&peers);
    }

    #[test]
    fn a_full_agent_leads_towards_one_that_only_answers() {
        let mut peers = pair(false, true);
        let (at_a, at_b) = (peers[0].at.clone(), peers[1].at.clone());
        let lite = Ice { lite: true, ..agreed("bbbb", "aaaa", true, &at_a) };
        let full = Ice { remote_lite: true, ..agreed("aaaa", "bbbb", false, &at_b) };
        for (peer, ice) in peers.iter_mut().zip([full, lite]) {
            peer.agent = Agent::new(&[3; 16]);
            peer.agent.agree(&ice, &Stream::default(), None);
        }
        run(&mut peers, (0, 2000), |_, _, _| true);
        both_selected(&peers);
        assert_eq!(peers[1].agent.report().unwrap().checks_sent, 0);
    }
}

#[test]
fn nothing_on_the_path_of_a_check_needs_a_forward_to_be_connected() {
    let mut forward = Forward::new([3; 32]);
    let mut check = CheckOf::new(&ours(), "Xk3d").write();
    let verdict = forward.packet(now(1), Side::B, Component::Rtp, addr(CLIENT), &mut check);
    assert_eq!(verdict, Verdict::Consumed);
}
