//! What one leg of a call offers and answers, carried over to the other leg.

use crate::direction::Direction;
use crate::fax::Fax;
use crate::payload::Payload;
use crate::refusal::Refusal;
use crate::section::static_payload;
use crate::stream::Stream;
use crate::words::{is_parameters, is_token};

/// The media that two legs share: what an offer or answer is about, without anybody's addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Payload types, first preferred.
    pub payloads: Vec<Payload>,
    /// The direction as seen from the end that wrote the SDP (the far side for a received one, us
    /// for one we make). `c=0.0.0.0` (RFC 2543 hold) reads as `Inactive`.
    pub direction: Direction,
    /// Packet time in ms, if written.
    pub ptime_ms: Option<u16>,
    /// It is a fax by T.38, and there are no payload types.
    pub fax: Option<Fax>,
}

/// The payload type to send on a leg with the payload types `to` for what is `payload` on the other.
/// Where `to` has two numbers for the same thing, it is the first (see [`Stream::payloads`]).
pub fn counterpart<'a>(payload: &Payload, to: &'a [Payload]) -> Option<&'a Payload> {
    let alike = |a: &Payload, b: &Payload| a.same_encoding(b) && a.fmtp == b.fmtp;
    let sent = to.iter().enumerate().filter(|(at, p)| !to[..*at].iter().any(|q| alike(p, q)));
    nearest(payload, sent.map(|(_, payload)| payload))
}

impl Media {
    /// What can always be offered towards Teams (TDR-COD-002): G.711, telephone events, comfort
    /// noise, both ways, 20 ms.
    pub fn g711() -> Self {
        let events = Payload {
            number: 101,
            encoding: "telephone-event".into(),
            clock_hz: 8000,
            channels: 1,
            fmtp: Some("0-16".to_owned()),
        };
        let payloads = [8, 0].into_iter().filter_map(static_payload);
        let payloads = payloads.chain([events]).chain(static_payload(13)).collect();
        Self { payloads, direction: Direction::SendRecv, ptime_ms: Some(20), fax: None }
    }

    /// The audio that was agreed on a leg, in this direction.
    pub fn of(agreed: &Stream, direction: Direction) -> Self {
        let (payloads, ptime_ms) = (agreed.payloads.clone(), agreed.ptime_ms);
        Self { payloads, direction, ptime_ms, fax: None }
    }

    /// What to offer on the other leg when this was offered on one: everything with its number,
    /// unknown encodings too, or only the encodings named in `allow` (compared without case), and
    /// then no telephone events and comfort noise whose clock fits no speech that is left.
    ///
    /// Redundant audio (RFC 2198) is left out: inside its packets stand payload types of its leg,
    /// which nobody would map.
    pub fn for_other_leg(&self, allow: Option<&[&str]>) -> Result<Self, Refusal> {
        if self.fax.is_some() {
            return Ok(self.clone());
        }
        let allowed = |payload: &Payload| match allow {
            Some(allow) => allow.iter().any(|name| payload.encoding.eq_ignore_ascii_case(name)),
            None => true,
        };
        let kept = self.payloads.iter().filter(|p| !p.encoding.eq_ignore_ascii_case("RED"));
        let mut payloads: Vec<Payload> = kept.filter(|p| allowed(p)).cloned().collect();
        if allow.is_some() {
            payloads = fitting(payloads);
        }
        self.with(assign_numbers(&payloads, &[]))
    }

    /// What to answer the leg that offered `offered` when the other leg answered this: the
    /// encodings of both, in the order of the answer, with the numbers of the offer. Comfort noise
    /// stays only where its clock is that of speech that was agreed; so do telephone events
    /// (TDR-COD-006), unless that would leave none: an event at the wrong clock still dials.
    ///
    /// A fax is answered by a fax, as the far side of the other leg has it.
    pub fn answer_for(&self, offered: &Self) -> Result<Self, Refusal> {
        match (&self.fax, &offered.fax) {
            (None, None) => {}
            (Some(_), Some(_)) => return Ok(self.clone()),
            (Some(_), None) | (None, Some(_)) => return Err(Refusal::NoFax),
        }
        let both = matched(&self.payloads, &offered.payloads);
        let payloads = both
            .into_iter()
            .map(|(answer, offer)| Payload { fmtp: answer.fmtp.clone(), ..offer.clone() })
            .collect();
        self.with(fitting(payloads))
    }

    fn with(&self, payloads: Vec<Payload>) -> Result<Self, Refusal> {
        if !payloads.iter().any(Payload::is_speech) {
            return Err(Refusal::NoCommonCodec);
        }
        Ok(Self { payloads, direction: self.direction, ptime_ms: self.ptime_ms, fax: None })
    }
}

/// Payload types have seven bits (RFC 3550, 5.1).
const LARGEST: u8 = 127;
/// The numbers that RFC 3551 leaves to be assigned.
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=LARGEST;

/// Each of `wanted` with the one of `offered` it means; none of `offered` twice.
pub(crate) fn matched<'a>(
    wanted: &'a [Payload],
    offered: &'a [Payload],
) -> Vec<(&'a Payload, &'a Payload)> {
    let mut pairs: Vec<(&Payload, &Payload)> = Vec::new();
    for payload in wanted {
        let free =
            offered.iter().filter(|o| pairs.iter().all(|(_, taken)| taken.number != o.number));
        if let Some(other) = nearest(payload, free) {
            pairs.push((payload, other));
        }
    }
    pairs
}

/// The payload type of the same encoding: best with the same number, then with the same
/// parameters (AMR is often offered in two packings).
fn nearest<'a>(payload: &Payload, among: impl Iterator<Item = &'a Payload>) -> Option<&'a Payload> {
    among
        .filter(|other| other.same_encoding(payload))
        .min_by_key(|other| (other.number != payload.number, other.fmtp != payload.fmtp))
}

/// Leaves out what goes with speech of another clock rate.
pub(crate) fn fitting(payloads: Vec<Payload>) -> Vec<Payload> {
    let clocks: Vec<u32> = payloads.iter().filter(|p| p.is_speech()).map(|p| p.clock_hz).collect();
    let fits = |payload: &Payload| payload.is_speech() || clocks.contains(&payload.clock_hz);
    let an_event_fits = payloads.iter().any(|p| p.is_event() && fits(p));
    payloads.into_iter().filter(|p| fits(p) || (p.is_event() && !an_event_fits)).collect()
}

/// The payload types as they can be offered on a leg where the numbers in `known` have a meaning
/// already: no number twice, none with a new meaning (TDR-SDP-010), none that cannot be written.
pub(crate) fn assign_numbers(payloads: &[Payload], known: &[Payload]) -> Vec<Payload> {
    let mut assigned: Vec<Payload> = Vec::new();
    for payload in payloads.iter().filter(|p| is_token(&p.encoding) && p.clock_hz > 0) {
        let fmtp = payload.fmtp.clone().filter(|parameters| is_parameters(parameters));
        if assigned.iter().any(|seen| seen.same_encoding(payload) && seen.fmtp == fmtp) {
            continue;
        }
        let free = |number: &u8| assigned.iter().all(|seen| seen.number != *number);
        let unclaimed = |number: &u8| {
            free(number)
                && known.iter().all(|k| k.number != *number)
                && payloads.iter().all(|p| p.number != *number)
        };
        let keeps_meaning =
            known.iter().all(|k| k.number != payload.number || k.same_encoding(payload));
        let own = (payload.number <= LARGEST && keeps_meaning).then_some(payload.number);
        let number = nearest(payload, known.iter())
            .map(|k| k.number)
            .filter(free)
            .or(own.filter(free))
            .or_else(|| DYNAMIC.into_iter().find(unclaimed));
        if let Some(number) = number {
            assigned.push(Payload { number, fmtp, ..payload.clone() });
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(number: u8, name: &str, fmtp: Option<&str>) -> Payload {
        let (encoding, clock) = name.split_once('/').unwrap_or((name, "8000"));
        Payload {
            number,
            encoding: encoding.into(),
            clock_hz: clock.parse().unwrap(),
            channels: 1,
            fmtp: fmtp.map(str::to_owned),
        }
    }

    fn media(payloads: &[(u8, &str)]) -> Media {
        let payloads = payloads.iter().map(|(number, name)| payload(*number, name, None)).collect();
        Media { payloads, direction: Direction::SendOnly, ptime_ms: Some(30), fax: None }
    }

    fn names(media: &Media) -> Vec<String> {
        let name = |p: &Payload| format!("{} {}/{}", p.number, p.encoding, p.clock_hz);
        media.payloads.iter().map(name).collect()
    }

    #[test]
    fn everything_is_offered_on_except_redundant_audio() {
        let offered = media(&[(8, "PCMA"), (97, "RED"), (98, "X-NEW/24000"), (118, "CN/16000")]);
        let other = offered.for_other_leg(None).unwrap();
        assert_eq!(names(&other), ["8 PCMA/8000", "98 X-NEW/24000", "118 CN/16000"]);
        assert_eq!((other.direction, other.ptime_ms), (Direction::SendOnly, Some(30)));
    }

    #[test]
    fn a_policy_keeps_its_encodings_and_the_events_that_fit_them() {
        let offered = media(&[
            (104, "SILK/16000"),
            (8, "pcma"),
            (118, "CN/16000"),
            (13, "CN"),
            (113, "telephone-event/16000"),
            (101, "telephone-event"),
        ]);
        let other = offered.for_other_leg(Some(&["PCMA", "CN", "telephone-event"])).unwrap();
        assert_eq!(names(&other), ["8 pcma/8000", "13 CN/8000", "101 telephone-event/8000"]);
        assert_eq!(offered.for_other_leg(Some(&["CN"])), Err(Refusal::NoCommonCodec));
        assert_eq!(offered.for_other_leg(Some(&[])), Err(Refusal::NoCommonCodec));
    }

    #[test]
    fn an_answer_goes_back_with_the_numbers_of_the_offer_and_the_parameters_of_the_answer() {
        let offered = media(&[(96, "telephone-event"), (8, "PCMA"), (13, "CN"), (0, "PCMU")]);
        let mut answer = media(&[(0, "PCMU"), (101, "telephone-event"), (9, "G722")]);
        answer.payloads[1].fmtp = Some("0-11".to_owned());
        let back = answer.answer_for(&offered).unwrap();
        assert_eq!(names(&back), ["0 PCMU/8000", "96 telephone-event/8000"]);
        assert_eq!(back.payloads[1].fmtp.as_deref(), Some("0-11"));
        let none = media(&[(9, "G722"), (13, "CN")]).answer_for(&offered);
        assert_eq!(none, Err(Refusal::NoCommonCodec));
    }

    #[test]
    fn noise_of_another_clock_goes_and_the_last_events_stay() {
        let wide = media(&[(104, "SILK/16000"), (101, "telephone-event"), (13, "CN")]);
        let back = wide.answer_for(&wide).unwrap();
        assert_eq!(names(&back), ["104 SILK/16000", "101 telephone-event/8000"]);
    }

    #[test]
    fn two_packings_of_one_codec_are_told_apart() {
        let (loose, aligned) = (None, Some("octet-align=1"));
        let offered = vec![payload(96, "AMR", loose), payload(97, "AMR", aligned)];
        let wanted = [payload(110, "AMR", aligned), payload(111, "AMR", loose)];
        let pairs: Vec<_> =
            matched(&wanted, &offered).iter().map(|(a, b)| (a.number, b.number)).collect();
        assert_eq!(pairs, [(110, 97), (111, 96)]);
        let numbers = wanted.iter().map(|it| counterpart(it, &offered).unwrap().number);
        assert_eq!(numbers.collect::<Vec<_>>(), [97, 96]);

        let third = [payload(97, "AMR", Some("mode-set=7"))];
        assert_eq!(
            matched(&third, &offered)[0].1.number,
            97,
            "the number, where nothing else tells"
        );
        let known = [payload(96, "AMR", loose)];
        let assigned = assign_numbers(&offered, &known);
        assert_eq!(assigned.iter().map(|p| p.number).collect::<Vec<_>>(), [96, 97]);
    }

    #[test]
    fn of_two_numbers_for_one_thing_the_first_is_sent() {
        let event = |number| payload(number, "telephone-event", None);
        let number = |to: &[Payload]| counterpart(&event(101), to).map(|it| it.number);
        assert_eq!(number(&[event(96), event(101)]), Some(96));
        assert_eq!(number(&[event(101), event(96)]), Some(101));
        assert_eq!(number(&[payload(101, "PCMA", None)]), None);
    }

    #[test]
    fn more_codecs_than_numbers_leave_the_last_ones_out() {
        let many: Vec<Payload> = (0..60).map(|n| payload(8, &format!("x{n}"), None)).collect();
        let assigned = assign_numbers(&many, &[]);
        assert_eq!(assigned.len(), 33, "the one that keeps 8, and 96 to 127");
    }
}
