//! Which codecs a leg may use, and in which order it prefers them.

use crate::pair::fitting;
use crate::payload::Payload;
use std::sync::Arc;

/// The codecs of a leg; by default all, in the order of whoever offers them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codecs(Option<Arc<List>>);

#[derive(Debug, PartialEq, Eq)]
struct List {
    /// Encoding names, first preferred.
    named: Vec<String>,
    /// Telephone events are left out, which otherwise stay though nobody names them.
    without_events: bool,
}

/// The name of the encoding that stays unless it is left out by name.
const EVENTS: &str = "telephone-event";

impl Codecs {
    /// Only these encodings, first preferred. Telephone events stay as well, unless the list has
    /// `-telephone-event`.
    pub fn only<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let (mut named, mut without_events) = (Vec::new(), false);
        for name in names.into_iter().map(Into::into) {
            match name.strip_prefix('-') {
                Some(left_out) => without_events |= left_out.eq_ignore_ascii_case(EVENTS),
                None => named.push(name),
            }
        }
        Self(Some(Arc::new(List { named, without_events })))
    }

    /// Those that this and `other` allow, in this order; where this has none of its own, in the
    /// other's.
    pub fn and(&self, other: &Self) -> Self {
        let (one, two) = match (&self.0, &other.0) {
            (Some(one), Some(two)) => (one, two),
            (Some(_), None) => return self.clone(),
            (None, _) => return other.clone(),
        };
        let named = one.named.iter().filter(|name| two.position(name).is_some()).cloned();
        let without_events = one.without_events || two.without_events;
        Self(Some(Arc::new(List { named: named.collect(), without_events })))
    }

    /// Whether everything is allowed.
    pub const fn are_all(&self) -> bool {
        self.0.is_none()
    }

    /// What is left of `payloads`, the preferred first: speech, then what goes with it.
    pub fn of(&self, payloads: &[Payload]) -> Vec<Payload> {
        let Some(list) = &self.0 else { return payloads.to_vec() };
        let mut left: Vec<Payload> = payloads.iter().filter(|p| list.allows(p)).cloned().collect();
        left.sort_by_key(|payload| {
            let place = list.position(&payload.encoding).unwrap_or(usize::MAX);
            (!payload.is_speech(), place)
        });
        fitting(left)
    }

    /// Whether there is speech in what is left of `payloads`.
    pub fn leave_speech(&self, payloads: &[Payload]) -> bool {
        let allows = |p: &Payload| self.0.as_ref().is_none_or(|list| list.allows(p));
        payloads.iter().any(|payload| payload.is_speech() && allows(payload))
    }
}

impl List {
    fn position(&self, name: &str) -> Option<usize> {
        self.named.iter().position(|named| named.eq_ignore_ascii_case(name))
    }

    fn allows(&self, payload: &Payload) -> bool {
        match payload.is_event() {
            true => !self.without_events,
            false => self.position(&payload.encoding).is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::Media;

    fn named(codecs: &Codecs, payloads: &[Payload]) -> Vec<String> {
        codecs.of(payloads).into_iter().map(|payload| payload.encoding.to_string()).collect()
    }

    #[test]
    fn a_list_orders_and_leaves_out_and_keeps_telephone_events() {
        let offered = Media::g711().payloads;
        let all = ["PCMA", "PCMU", "telephone-event", "CN"];
        assert_eq!(named(&Codecs::default(), &offered), all);
        assert!(Codecs::default().are_all());
        let turned = Codecs::only(["pcmu", "PCMA"]);
        assert_eq!(named(&turned, &offered), ["PCMU", "PCMA", "telephone-event"]);
        let noisy = Codecs::only(["CN", "PCMA"]);
        assert_eq!(named(&noisy, &offered), ["PCMA", "CN", "telephone-event"], "speech first");
        let silent = Codecs::only(["PCMA", "-telephone-event"]);
        assert_eq!(named(&silent, &offered), ["PCMA"]);
        assert!(!Codecs::only(["G729"]).leave_speech(&offered));
        assert!(!Codecs::only(["CN"]).leave_speech(&offered));
    }

    #[test]
    fn two_lists_allow_what_both_do_in_the_order_of_the_first() {
        let offered = Media::g711().payloads;
        let (one, two) = (Codecs::only(["PCMU", "G722", "PCMA"]), Codecs::only(["PCMA", "PCMU"]));
        assert_eq!(named(&one.and(&two), &offered), ["PCMU", "PCMA", "telephone-event"]);
        assert_eq!(one.and(&Codecs::default()), one);
        assert_eq!(Codecs::default().and(&two), two);
        let quiet = two.and(&Codecs::only(["PCMA", "-telephone-event"]));
        assert_eq!(named(&quiet, &offered), ["PCMA"]);
    }
}
