//! Packets of a leg whose checks have come to something are ordinary ones, as long as nothing changes.

use crate::ice::*;
use crate::wire::{CARRIER, STRANGER, addr, carrier_stream, forward_to, leg, rtp, teams_stream};
use media::ice::stun::{Class, Key, Message, Writer};
use media::{Component, DropReason, PacketBuf, Side, Verdict};
use sdp::ice::{Candidate, Credentials, Ice, IceTrouble};
use sdp::{Notice, Stream};

impl World {
    /// What the client says reaches the carrier.
    fn client_says(&mut self, from: &str) {
        let mut packet = rtp(7, (self.call.ms / 20) as u16, 1);
        self.call.teams.protect(&mut packet).unwrap();
        assert_eq!(self.call.comes(Side::A, from, &mut packet), forward_to(Side::B, CARRIER));
    }

    /// Both sides speak for so long; where to, for the client. What is due is done.
    fn talk(&mut self, ms: u64) -> Option<String> {
        let until = self.call.ms + ms;
        let mut to = None;
        while self.call.ms < until {
            self.client_says(CLIENT);
            to = self.goes_to();
            let now = self.call.now();
            while self.call.forward.generate(now, &mut PacketBuf::new()).is_some() {}
        }
        to
    }

    fn are_ordinary(&self) -> [bool; 2] {
        [Side::A, Side::B].map(|side| self.call.forward.is_ordinary(side))
    }
}

/// A call with a client whose pair is chosen, and that has spoken.
fn settled() -> World {
    let mut world = World::new(&with(ice("Xk3d")));
    assert_eq!(world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses()), Some(200));
    assert_eq!(world.talk(200).as_deref(), Some(CLIENT));
    assert_eq!(world.are_ordinary(), [true; 2]);
    world
}

#[test]
fn before_a_check_nothing_is_ordinary_towards_the_client() {
    let mut world = World::new(&with(ice("Xk3d")));
    assert_eq!(world.talk(200), None);
    assert_eq!(world.are_ordinary(), [true, false]);
}

/// TDR-ICE-007
#[test]
fn a_pair_that_is_chosen_later_has_the_next_packet_and_other_addresses_none() {
    let mut world = settled();
    world.client_says(STRANGER);
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT), "a tag says who it is, and not where");
    assert_eq!(world.are_ordinary(), [true; 2]);
    world.check(RELAY, &CheckOf::new(&ours(), "Xk3d").chooses());
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
    assert_eq!(world.talk(100).as_deref(), Some(RELAY), "also while it comes from the other");
    assert_eq!(world.are_ordinary(), [true; 2]);
}

/// TDR-ICE-010
#[test]
fn a_restart_leads_away_only_once_its_own_pair_works() {
    let mut world = settled();
    let fresh = Credentials::new("nEw1", "freshfreshfreshfreshfr").unwrap();
    let anew = with(Ice { local: fresh.clone(), ..ice("Zq9w") });
    // Its SDP names another address by default, where nobody has asked for anything yet.
    world.connect(&Stream { remote_rtp: Some(addr(STRANGER)), ..anew });
    assert_eq!(world.goes_to().as_deref(), Some(CLIENT), "the old pair serves on");
    assert_eq!(world.talk(100).as_deref(), Some(CLIENT));
    world.check(RELAY, &CheckOf::new(&fresh, "Zq9w"));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
}

#[test]
fn another_fork_that_has_not_checked_anything_gets_nothing() {
    let mut world = settled();
    world.connect(&with(ice("Bbbb")));
    assert_eq!(world.goes_to(), None);
    assert!(!world.call.forward.is_ordinary(Side::B));
    world.check(RELAY, &CheckOf::new(&ours(), "Bbbb"));
    assert_eq!(world.goes_to().as_deref(), Some(RELAY));
}

#[test]
fn a_leg_that_leaves_ice_has_its_media_where_its_sdp_says_until_it_is_heard() {
    let mut world = settled();
    world.connect(&teams_stream());
    assert_eq!(world.goes_to().as_deref(), Some(crate::wire::TEAMS));
    world.client_says(RELAY);
    assert_eq!(world.goes_to().as_deref(), Some(RELAY), "as with any SRTP");
    assert_eq!(world.talk(100).as_deref(), Some(CLIENT));
    assert_eq!(world.are_ordinary(), [true; 2]);
}

/// TDR-ICE-012
#[test]
fn silence_is_told_as_long_after_the_last_ordinary_packet_as_after_any() {
    let mut world = settled();
    for _ in 0..40 {
        world.talk(1000);
        assert_eq!(world.notice(), None);
    }
    assert_eq!(world.are_ordinary(), [true; 2]);
    for (ms, told) in [(29_900, None), (200, Some(Notice::Ice(IceTrouble::Silent)))] {
        world.call.ms += ms;
        let now = world.call.now();
        while world.call.forward.generate(now, &mut PacketBuf::new()).is_some() {}
        assert_eq!(world.notice(), told, "after {ms} ms more");
    }
}

#[test]
fn without_srtp_a_packet_is_ordinary_only_where_the_checks_have_no_say() {
    let mut world = World::new(&Stream { crypto: None, ..with(ice("Xk3d")) });
    world.check(CLIENT, &CheckOf::new(&ours(), "Xk3d").chooses());
    world.check(RELAY, &CheckOf::new(&ours(), "Xk3d"));
    for sequence in 0..10 {
        let mut packet = rtp(7, sequence, 1);
        assert_eq!(world.call.comes(Side::A, CLIENT, &mut packet), forward_to(Side::B, CARRIER));
        assert_eq!(world.goes_to().as_deref(), Some(CLIENT));
    }
    assert_eq!(world.are_ordinary(), [false, true]);
    let relayed = world.call.comes(Side::A, RELAY, &mut rtp(7, 10, 1));
    assert_eq!(relayed, forward_to(Side::B, CARRIER), "a checked pair");
    let strange = world.call.comes(Side::A, STRANGER, &mut rtp(7, 11, 1));
    assert_eq!(strange, Verdict::Drop(DropReason::Unlatched));
}

/// A client to which we are a full agent: it answers our checks as long as it `consents`.
struct Full {
    world: World,
    consents: bool,
    asked: u32,
}

impl Full {
    fn new() -> Self {
        let candidates = vec![Candidate { component: 1, priority: 100, address: addr(CLIENT) }];
        let full = Ice { lite: false, candidates, ..ice("Xk3d") };
        let mut world = World { call: crate::wire::Call::unconnected() };
        world.call.forward.connect(leg(&with(full)), leg(&carrier_stream()));
        Self { world, consents: true, asked: 0 }
    }

    /// Both speak for so long, and our checks are answered; where to, for the client.
    fn talk(&mut self, ms: u64) -> Option<String> {
        let until = self.world.call.ms + ms;
        let mut to = None;
        while self.world.call.ms < until {
            self.world.client_says(CLIENT);
            to = self.world.goes_to();
            let mut slot = PacketBuf::new();
            let now = self.world.call.now();
            while let Some(verdict) = self.world.call.forward.generate(now, &mut slot) {
                let asks = verdict == forward_to(Side::A, CLIENT);
                if let Some(check) = Message::read(slot.packet()).filter(|_| asks) {
                    self.asked += 1;
                    self.answer(now, check.transaction);
                }
            }
        }
        to
    }

    fn answer(&mut self, now: media::Now, transaction: [u8; 12]) {
        if self.consents {
            let mut slot = PacketBuf::new();
            let answer = Writer::new(&mut slot, Class::Success, transaction).mapped(addr(STRANGER));
            answer.finish(Some(&Key::new(theirs("Xk3d").pwd().as_bytes())));
            let forward = &mut self.world.call.forward;
            let taken = forward.packet(now, Side::A, Component::Rtp, addr(CLIENT), &mut slot);
            assert_eq!(taken, Verdict::Consumed);
        }
    }
}

/// RFC 7675, 5.1: answers to checks renew consent, and media does not.
#[test]
fn consent_that_is_not_renewed_ends_the_sending_of_ordinary_packets_though_media_comes() {
    let mut client = Full::new();
    assert_eq!(client.talk(60_000).as_deref(), Some(CLIENT));
    assert_eq!(client.world.are_ordinary(), [true; 2]);
    assert!(client.asked > 10, "{} checks in a minute", client.asked);
    assert_eq!(client.world.notice(), None);
    client.consents = false;
    assert_eq!(client.talk(23_000).as_deref(), Some(CLIENT), "the last answer is good for 30 s");
    assert_eq!(client.world.are_ordinary(), [true; 2]);
    assert_eq!(client.talk(7_100), None);
    assert_eq!(client.world.are_ordinary(), [true, false]);
    assert_eq!(client.world.notice(), Some(Notice::Ice(IceTrouble::ConsentLost)));
}
