//! The bindings of one address-of-record, as its registrar keeps them (RFC 3261, 10.3).

use crate::message::{Headers, Name, NameAddr, Request, decimal, trim};
use bytes::Bytes;
use std::time::{Duration, Instant};
use thiserror::Error;

/// Bindings of one address-of-record: a PBX has one, a pair of them with two lines each four.
pub const BINDINGS_MAX: usize = 8;

/// How long bindings may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// A shorter time is refused with 423.
    pub least: Duration,
    /// What is granted to who asks for nothing or for more.
    pub most: Duration,
}

/// One binding. `F` is the way back to who registered it: the flow it came on (RFC 5626).
#[derive(Clone, Debug)]
pub struct Binding<F> {
    /// The Contact URI.
    pub contact: Bytes,
    /// The way back.
    pub flow: F,
    /// When it ends.
    pub ends: Instant,
    call_id: Bytes,
    cseq: u32,
}

/// The bindings of one address-of-record, the latest first.
#[derive(Clone, Debug)]
pub struct Bindings<F> {
    list: Vec<Binding<F>>,
}

/// Why a REGISTER changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refused {
    /// A Contact that no request can be sent to, or `*` with something beside it.
    #[error("its Contact is not usable")]
    Contact,
    /// Less than [`Times::least`].
    #[error("the time is too short")]
    TooBrief,
    /// More than [`BINDINGS_MAX`].
    #[error("there are too many bindings")]
    Full,
    /// An older REGISTER of this Call-ID, which came late.
    #[error("a later REGISTER has come before")]
    OutOfOrder,
}

impl Refused {
    /// The status that says so.
    pub const fn status(self) -> u16 {
        match self {
            Self::Contact => 400,
            Self::TooBrief => 423,
            Self::Full => 403,
            Self::OutOfOrder => 500,
        }
    }

    /// As in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::TooBrief => "too_brief",
            Self::Full => "full",
            Self::OutOfOrder => "out_of_order",
        }
    }
}

impl<F> Default for Bindings<F> {
    fn default() -> Self {
        Self { list: Vec::new() }
    }
}

impl<F: Clone> Bindings<F> {
    /// Takes a REGISTER that has been authenticated: all of it or nothing (RFC 3261, 10.3, 6 to 8).
    /// Without Contact it only asks.
    pub fn register(
        &mut self,
        now: Instant,
        request: &Request,
        flow: &F,
        times: Times,
    ) -> Result<(), Refused> {
        self.expire(now);
        let headers = &request.headers;
        let contacts: Vec<&[u8]> = headers.list(Name::Contact).collect();
        let from = From {
            call_id: Bytes::copy_from_slice(headers.call_id()),
            cseq: headers.cseq().number,
            flow: flow.clone(),
        };
        if contacts.contains(&b"*".as_slice()) {
            return self.clear(&contacts, headers, &from);
        }
        let mut list = self.list.clone();
        for contact in contacts.iter().rev() {
            let contact = NameAddr::parse(contact).map_err(|_| Refused::Contact)?;
            if !contact.uri().is_ok_and(|uri| uri.is_sip() && !uri.host.is_empty()) {
                return Err(Refused::Contact);
            }
            let time =
                time_asked(&contact, headers).map_or(times.most, |time| time.min(times.most));
            if !time.is_zero() && time < times.least {
                return Err(Refused::TooBrief);
            }
            if let Some(at) = list.iter().position(|old| old.contact == contact.uri) {
                from.comes_after(&list[at])?;
                list.remove(at);
            }
            if !time.is_zero() {
                let contact = Bytes::copy_from_slice(contact.uri);
                list.insert(0, from.binding(contact, now + time));
            }
        }
        if list.len() > BINDINGS_MAX {
            return Err(Refused::Full);
        }
        self.list = list;
        Ok(())
    }

    /// `Contact: *` removes all, and only with `Expires: 0` (RFC 3261, 10.3, 6).
    fn clear(
        &mut self,
        contacts: &[&[u8]],
        headers: &Headers,
        from: &From<F>,
    ) -> Result<(), Refused> {
        let zero = headers.get(Name::Expires).is_some_and(|value| seconds(value) == Some(0));
        if contacts.len() > 1 || !zero {
            return Err(Refused::Contact);
        }
        self.list.iter().try_for_each(|old| from.comes_after(old))?;
        self.list.clear();
        Ok(())
    }

    /// Drops what has ended.
    pub fn expire(&mut self, now: Instant) {
        self.list.retain(|binding| binding.ends > now);
    }

    /// Keeps the bindings that `keep` wants kept.
    pub fn retain(&mut self, keep: impl FnMut(&Binding<F>) -> bool) {
        self.list.retain(keep);
    }

    /// When the next binding ends.
    pub fn next_end(&self) -> Option<Instant> {
        self.list.iter().map(|binding| binding.ends).min()
    }

    /// The bindings that hold, the latest first.
    pub fn iter(&self, now: Instant) -> impl Iterator<Item = &Binding<F>> {
        self.list.iter().filter(move |binding| binding.ends > now)
    }

    /// The Contact values of the 200 (RFC 3261, 10.3, 8).
    pub fn contacts(&self, now: Instant) -> Vec<Vec<u8>> {
        let value = |binding: &Binding<F>| {
            // Rounded up, so that what was just granted is not told as a second less.
            let left = binding.ends.saturating_duration_since(now).as_millis().div_ceil(1000);
            let expires = format!(">;expires={left}");
            [b"<", binding.contact.as_ref(), expires.as_bytes()].concat()
        };
        self.iter(now).map(value).collect()
    }
}

/// What all bindings of one REGISTER have in common.
struct From<F> {
    call_id: Bytes,
    cseq: u32,
    flow: F,
}

impl<F: Clone> From<F> {
    fn comes_after(&self, old: &Binding<F>) -> Result<(), Refused> {
        let late = old.call_id == self.call_id && self.cseq <= old.cseq;
        if late { Err(Refused::OutOfOrder) } else { Ok(()) }
    }

    fn binding(&self, contact: Bytes, ends: Instant) -> Binding<F> {
        let Self { call_id, cseq, flow } = self;
        Binding { contact, flow: flow.clone(), ends, call_id: call_id.clone(), cseq: *cseq }
    }
}

/// The `expires` of the Contact, else the Expires header; what cannot be read counts as not said
/// (RFC 3261, 10.2.1.1).
fn time_asked(contact: &NameAddr<'_>, headers: &Headers) -> Option<Duration> {
    let written = contact.param("expires").and_then(seconds);
    let written = written.or_else(|| headers.get(Name::Expires).and_then(seconds))?;
    Some(Duration::from_secs(written.into()))
}

fn seconds(text: &[u8]) -> Option<u32> {
    decimal(trim(text), u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Method;

    const TIMES: Times = Times { least: Duration::from_secs(60), most: Duration::from_secs(3600) };

    #[expect(clippy::disallowed_methods, reason = "a test needs one instant to count from")]
    fn zero() -> Instant {
        Instant::now()
    }

    fn register(call_id: &str, cseq: u32, lines: &[(Name, &str)]) -> Request {
        let mut request = Request::new(Method::Register, "sip:sbc.example");
        request.headers.push(Name::CallId, call_id.to_owned());
        request.headers.push(Name::CSeq, format!("{cseq} REGISTER"));
        for (name, value) in lines {
            request.headers.push(*name, (*value).to_owned());
        }
        request
    }

    fn texts(bindings: &Bindings<u8>, now: Instant) -> Vec<String> {
        let contacts = bindings.contacts(now);
        contacts.iter().map(|c| String::from_utf8_lossy(c).into_owned()).collect()
    }

    #[test]
    fn bound_refreshed_moved_and_ended() {
        let (now, mut bindings) = (zero(), Bindings::default());
        let contact = [(Name::Contact, "\"P\" <sip:p@192.0.2.9;x=1>;expires=100;q=1")];
        bindings.register(now, &register("a", 1, &contact), &1_u8, TIMES).unwrap();
        assert_eq!(texts(&bindings, now), ["<sip:p@192.0.2.9;x=1>;expires=100"]);
        let later = now + Duration::from_millis(50_500);
        bindings.register(later, &register("a", 2, &contact), &2, TIMES).unwrap();
        assert_eq!(texts(&bindings, later), ["<sip:p@192.0.2.9;x=1>;expires=100"]);
        assert_eq!(bindings.iter(later).next().unwrap().flow, 2, "it came over another flow");
        assert_eq!(bindings.next_end(), Some(later + Duration::from_secs(100)));
        let end = later + Duration::from_secs(100);
        assert_eq!(bindings.iter(end).count(), 0);
        bindings.expire(end);
        assert_eq!(bindings.next_end(), None);
    }

    #[test]
    fn time_is_the_contacts_then_the_headers_then_ours_and_never_more() {
        for (contact, header, want) in [
            ("<sip:p@h>;expires=100", Some("200"), 100),
            ("<sip:p@h>", Some("200"), 200),
            ("<sip:p@h>", None, 3600),
            ("<sip:p@h>;expires=x", Some("y"), 3600),
            ("<sip:p@h>;expires=4294967295", None, 3600),
            ("<sip:p@h>;expires=99999999999", None, 3600),
        ] {
            let (now, mut bindings) = (zero(), Bindings::default());
            let mut lines = vec![(Name::Contact, contact)];
            lines.extend(header.map(|value| (Name::Expires, value)));
            bindings.register(now, &register("a", 1, &lines), &0, TIMES).unwrap();
            assert_eq!(texts(&bindings, now), [format!("<sip:p@h>;expires={want}")]);
        }
    }

    #[test]
    fn query_changes_nothing() {
        let (now, mut bindings) = (zero(), Bindings::default());
        let contact = [(Name::Contact, "<sip:p@h>")];
        bindings.register(now, &register("a", 5, &contact), &0, TIMES).unwrap();
        bindings.register(now, &register("a", 1, &[]), &0, TIMES).unwrap();
        assert_eq!(texts(&bindings, now).len(), 1);
    }

    #[test]
    fn late_register_of_the_same_call_id_changes_nothing() {
        let (now, mut bindings) = (zero(), Bindings::default());
        let contact = [(Name::Contact, "<sip:p@h>")];
        bindings.register(now, &register("a", 5, &contact), &0, TIMES).unwrap();
        let gone = [(Name::Contact, "<sip:p@h>;expires=0")];
        let star = [(Name::Contact, "*"), (Name::Expires, "0")];
        for lines in [&contact[..], &gone, &star] {
            for cseq in [4, 5] {
                let got = bindings.register(now, &register("a", cseq, lines), &9, TIMES);
                assert_eq!(got, Err(Refused::OutOfOrder));
            }
        }
        assert_eq!(bindings.iter(now).next().unwrap().flow, 0);
        // After a restart its Call-ID is new, and its count begins again.
        bindings.register(now, &register("b", 1, &gone), &0, TIMES).unwrap();
        assert!(texts(&bindings, now).is_empty());
    }

    #[test]
    fn one_bad_contact_spoils_all() {
        let (now, mut bindings) = (zero(), Bindings::default());
        let good = [(Name::Contact, "<sip:old@h>")];
        bindings.register(now, &register("a", 1, &good), &0, TIMES).unwrap();
        for (contact, why) in [
            ("<sip:p@h>, <tel:+49>", Refused::Contact),
            ("<sip:p@h>, <mailto:a@b>", Refused::Contact),
            ("<sip:p@h>, <sip:>", Refused::Contact),
            ("<sip:p@h>, *", Refused::Contact),
            ("*", Refused::Contact),
            ("<sip:p@h>, <sip:q@h>;expires=59", Refused::TooBrief),
        ] {
            let request = register("a", 2, &[(Name::Contact, contact)]);
            assert_eq!(bindings.register(now, &request, &0, TIMES), Err(why), "{contact}");
            assert_eq!(texts(&bindings, now), ["<sip:old@h>;expires=3600"]);
        }
    }

    #[test]
    fn star_with_expires_0_removes_all() {
        let (now, mut bindings) = (zero(), Bindings::default());
        let two = [(Name::Contact, "<sip:p@h>, <sip:q@h>")];
        bindings.register(now, &register("a", 1, &two), &0, TIMES).unwrap();
        assert_eq!(texts(&bindings, now).len(), 2);
        let star = [(Name::Contact, "*"), (Name::Expires, "0")];
        bindings.register(now, &register("a", 2, &star), &0, TIMES).unwrap();
        assert!(texts(&bindings, now).is_empty());
    }

    #[test]
    fn binding_whose_way_back_is_gone_is_dropped_alone() {
        let (now, mut bindings) = (zero(), Bindings::default());
        for (call_id, contact, flow) in [("a", "<sip:p@h>", 1), ("b", "<sip:q@h>", 2)] {
            let request = register(call_id, 1, &[(Name::Contact, contact)]);
            bindings.register(now, &request, &flow, TIMES).unwrap();
        }
        bindings.retain(|binding| binding.flow != 1);
        assert_eq!(texts(&bindings, now), ["<sip:q@h>;expires=3600"]);
    }

    #[test]
    fn more_bindings_than_are_kept_are_refused_whole() {
        let (now, mut bindings) = (zero(), Bindings::default());
        for n in 0..BINDINGS_MAX {
            let contact = format!("<sip:p{n}@h>");
            let request = register("a", n as u32, &[(Name::Contact, &contact)]);
            bindings.register(now, &request, &0, TIMES).unwrap();
        }
        let more = register("a", 99, &[(Name::Contact, "<sip:more@h>")]);
        assert_eq!(bindings.register(now, &more, &0, TIMES), Err(Refused::Full));
        let again = register("a", 99, &[(Name::Contact, "<sip:p0@h>")]);
        bindings.register(now, &again, &0, TIMES).unwrap();
        assert!(texts(&bindings, now)[0].starts_with("<sip:p0@h>"), "the latest is first");
    }
}
