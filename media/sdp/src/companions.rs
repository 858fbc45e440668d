//! What goes with speech and is each leg's own business: telephone events and comfort noise, which
//! we make ourselves where the other leg has none.

use crate::ability::{Ability, Events};
use crate::codecs::Codecs;
use crate::payload::Payload;

/// The speech of a leg with the events and noise that it agrees for itself, out of `among`.
pub(crate) fn accompany(
    mut payloads: Vec<Payload>,
    among: &[Payload],
    ability: &Ability,
    codecs: &Codecs,
) -> Vec<Payload> {
    match ability.events {
        Events::Shared => {}
        Events::No => payloads.retain(|payload| !payload.is_event()),
        Events::Own => {
            let allowed = |it: &&Payload| !codecs.of(std::slice::from_ref(*it)).is_empty();
            let events: Vec<&Payload> =
                among.iter().filter(|it| it.is_event()).filter(allowed).collect();
            add_fitting(&mut payloads, &events, Payload::is_event);
        }
    }
    if ability.comfort_noise {
        let noise: Vec<&Payload> = among.iter().filter(|it| it.is_noise()).collect();
        add_fitting(&mut payloads, &noise, Payload::is_noise);
    }
    payloads
}

/// Telephone events and comfort noise for an offer of this speech.
pub(crate) fn companions(speech: &[Payload]) -> Vec<Payload> {
    let mut clocks: Vec<u32> = Vec::new();
    for payload in speech.iter().filter(|payload| payload.is_speech()) {
        if !clocks.contains(&payload.clock_hz) {
            clocks.push(payload.clock_hz);
        }
    }
    let of = |number, encoding: &str, clock_hz, fmtp: Option<&str>| Payload {
        number,
        encoding: encoding.into(),
        clock_hz,
        channels: 1,
        fmtp: fmtp.map(str::to_owned),
    };
    let events = clocks.iter().map(|clock_hz| of(101, "telephone-event", *clock_hz, Some("0-16")));
    let events: Vec<Payload> = events.collect();
    // Its number is of 8000 Hz alone (RFC 3551, 6).
    let noise = clocks.contains(&8000).then(|| of(13, "CN", 8000, None));
    events.into_iter().chain(noise).collect()
}

/// Adds those whose clock is that of speech, unless there are some; if none fits, the first: an
/// event at the wrong clock still dials.
fn add_fitting(payloads: &mut Vec<Payload>, among: &[&Payload], is: fn(&Payload) -> bool) {
    if payloads.iter().any(is) {
        return;
    }
    let speech: Vec<u32> =
        payloads.iter().filter(|payload| payload.is_speech()).map(|it| it.clock_hz).collect();
    let fits = |payload: &&&Payload| speech.contains(&payload.clock_hz);
    let mut fitting: Vec<Payload> =
        among.iter().filter(fits).map(|payload| (*payload).clone()).collect();
    if fitting.is_empty() {
        let last_resort = among.first().filter(|payload| payload.is_event());
        fitting.extend(last_resort.map(|payload| (*payload).clone()));
    }
    payloads.append(&mut fitting);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Media;

    fn named(payloads: &[Payload]) -> Vec<String> {
        payloads.iter().map(|it| format!("{} {}/{}", it.number, it.encoding, it.clock_hz)).collect()
    }

    fn speech(payloads: &[(u8, &str, u32)]) -> Vec<Payload> {
        payloads
            .iter()
            .map(|(number, encoding, clock_hz)| Payload {
                number: *number,
                encoding: (*encoding).into(),
                clock_hz: *clock_hz,
                channels: 1,
                fmtp: None,
            })
            .collect()
    }

    #[test]
    fn a_leg_agrees_events_though_the_other_has_none() {
        let own = Ability { events: Events::Own, ..Ability::default() };
        let all = Codecs::default();
        let offered = Media::g711().payloads;
        let pcma = || speech(&[(8, "PCMA", 8000)]);
        let answer = accompany(pcma(), &offered, &own, &all);
        assert_eq!(named(&answer), ["8 PCMA/8000", "101 telephone-event/8000"]);
        assert_eq!(named(&accompany(pcma(), &offered, &Ability::default(), &all)), ["8 PCMA/8000"]);
        let silent = Codecs::only(["PCMA", "-telephone-event"]);
        assert_eq!(named(&accompany(pcma(), &offered, &own, &silent)), ["8 PCMA/8000"]);
        let wide = speech(&[(96, "opus", 48_000), (8, "PCMA", 8000)]);
        let offer = accompany(wide.clone(), &companions(&wide), &own, &all);
        assert_eq!(named(&offer)[2..], ["101 telephone-event/48000", "101 telephone-event/8000"]);
    }

    #[test]
    fn a_leg_whose_keys_are_told_otherwise_agrees_no_events() {
        let none = Ability { events: Events::No, ..Ability::default() };
        let left = accompany(Media::g711().payloads, &[], &none, &Codecs::default());
        assert_eq!(named(&left), ["8 PCMA/8000", "0 PCMU/8000", "13 CN/8000"]);
    }

    #[test]
    fn comfort_noise_is_agreed_where_it_fits() {
        let noise = Ability { comfort_noise: true, ..Ability::default() };
        let all = Codecs::default();
        let offered = Media::g711().payloads;
        let answer = accompany(speech(&[(8, "PCMA", 8000)]), &offered, &noise, &all);
        assert_eq!(named(&answer), ["8 PCMA/8000", "13 CN/8000"]);
        let wide = speech(&[(96, "opus", 48_000)]);
        assert_eq!(named(&accompany(wide.clone(), &offered, &noise, &all)), ["96 opus/48000"]);
    }
}
