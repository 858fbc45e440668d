//! Keys by SIP INFO (`application/dtmf-relay`, `application/dtmf`): heard, and told where the far side
//! of a leg takes them so.
//!
//! A key that an INFO tells goes to media, which knows whether the far side has told it as telephone
//! event, too, and how the other leg is to have it.

use super::{Ask, Call, Fate};
use crate::core::{Core, Owner};
use crate::credentials::Signed;
use crate::io::PeerLeg;
use crate::plan::Trunk;
use sdp::{Dtmf, Key, Order};
use sip_core::transaction::ClientId;
use sip_core::{Method, Name};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The key with its duration in ms, as Cisco began it.
const RELAY: &str = "application/dtmf-relay";
/// The key alone.
const BARE: &str = "application/dtmf";
/// What INFO may hold.
const ACCEPT: &str = "application/dtmf-relay, application/dtmf";
/// How long a key is held that does not say.
const HELD: Duration = Duration::from_millis(160);
/// Keys that may wait for the INFO before them to be answered: one at a time, as a later CSeq that
/// comes first would make the earlier one too old (RFC 3261, 12.2.2).
const WAITING_MAX: usize = 32;

/// What one leg's far side is told by INFO.
#[derive(Default)]
pub(crate) struct Told {
    waiting: VecDeque<Key>,
    /// The INFO that has no answer yet, and its key.
    out: Option<(ClientId, Key)>,
    /// Its last INFO was refused as such: it is told in another way.
    refused: bool,
}

impl std::fmt::Debug for Told {
    /// Shows no digit.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Told").field("refused", &self.refused).finish_non_exhaustive()
    }
}

impl Call {
    /// INFO: a key; or empty, which asks whether we are there (RFC 2976, 2.2). No package was asked
    /// for (RFC 6086, 4.2.2).
    pub(super) fn info(&mut self, core: &mut Core, ask: &Ask) -> Fate {
        let response = if ask.request.headers.get(Name::Other("Info-Package")).is_some() {
            let mut response = self.reply(ask, 469);
            response.headers.push(Name::Other("Recv-Info"), "");
            response.reason = "Bad Info Package".into();
            response
        } else if ask.request.body().is_empty() {
            self.reply(ask, 200)
        } else {
            match self.key_of(ask) {
                Some(Ok(key)) => {
                    self.order(core, ask.leg, Order::Pressed(key));
                    self.reply(ask, 200)
                }
                Some(Err(())) => self.reply(ask, 400),
                None => {
                    let mut response = self.reply(ask, 415);
                    let accept = if self.takes_keys(ask.leg) { ACCEPT } else { "" };
                    response.headers.push(Name::Accept, accept);
                    response
                }
            }
        };
        core.respond(ask.server, response);
        Fate::Lives
    }

    /// The key in an INFO; `None` if it holds something else, or none is taken there.
    fn key_of(&self, ask: &Ask) -> Option<Result<Key, ()>> {
        let body = ask.request.body();
        let is = |kind: &str| {
            let written = ask.request.headers.get(Name::ContentType)?;
            let written = std::str::from_utf8(written).ok()?;
            let written = written.split(';').next()?.trim();
            written.eq_ignore_ascii_case(kind).then_some(())
        };
        if !self.takes_keys(ask.leg) {
            return None;
        }
        let text = std::str::from_utf8(body).map_err(|_| ());
        match (is(RELAY), is(BARE)) {
            (Some(()), _) => Some(text.and_then(relayed)),
            (_, Some(())) => Some(text.and_then(bare)),
            _ => None,
        }
    }

    /// Whether the far side of this leg may tell keys so.
    fn takes_keys(&self, which: PeerLeg) -> bool {
        let trunk = match (which, &self.b, &self.phase) {
            (PeerLeg::B, None, super::Phase::Setup(setup)) => {
                setup.attempt.as_ref().map(|attempt| attempt.trunk)
            }
            _ => Some(self.trunk_of(which)),
        };
        let told = trunk.and_then(|trunk| self.plan.trunks.get(trunk)).map(dtmf);
        matches!(told, Some(Dtmf::Auto | Dtmf::Info))
    }

    /// The far side of leg `which` has pressed a key that the other leg cannot be told by its media.
    pub(super) fn key_pressed(&mut self, core: &mut Core, which: PeerLeg, key: Key) -> Fate {
        let to = which.other();
        let Some(leg) = self.leg(to) else {
            // It has not answered yet.
            self.order(core, to, Order::Press(key));
            return Fate::Lives;
        };
        let trunk = leg.trunk;
        let told = self.plan.trunks.get(trunk).map_or(Dtmf::Rfc4733, dtmf);
        let Some(leg) = self.leg(to) else { return Fate::Lives };
        let by_info = told == Dtmf::Info || (told == Dtmf::Auto && leg.session.takes_info());
        if !by_info || leg.told.refused {
            self.order(core, to, Order::Press(key));
        } else if leg.told.waiting.len() < WAITING_MAX {
            leg.told.waiting.push_back(key);
            self.tell_next_key(core, to);
        }
        Fate::Lives
    }

    /// Sends the next INFO, unless one is out.
    fn tell_next_key(&mut self, core: &mut Core, which: PeerLeg) {
        let (plan, id) = (Arc::clone(&self.plan), self.id);
        let Some(leg) = self.leg(which) else { return };
        if leg.told.out.is_some() {
            return;
        }
        let Some(key) = leg.told.waiting.pop_front() else { return };
        let Some(hop) = leg.hop(core, &plan) else { return };
        let Some(signal) = signal(key.event) else { return self.tell_next_key(core, which) };
        let mut info = leg.request(core, Method::Info);
        let body = format!("Signal={signal}\r\nDuration={}\r\n", key.held.as_millis());
        info.set_body(RELAY, body);
        let client = core.request(hop, info, Owner::Info(id, which));
        leg.told.out = Some((client, key));
    }

    /// The far side has asked who we are: the INFO goes out again with credentials.
    pub(crate) fn info_signed(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        signed: Signed,
    ) -> Fate {
        if let Some(leg) = self.leg(which)
            && let Some((out, _)) = leg.told.out.as_mut().filter(|(out, _)| *out == client)
        {
            let cseq = leg.dialog.next_cseq();
            let (after, _) = core.send_signed(signed, cseq);
            *out = after;
        }
        Fate::Lives
    }

    /// A final response to our INFO, or none came (408). Where INFO is not taken, the key is pressed
    /// in the speech, and so are those that follow.
    pub(crate) fn info_answered(
        &mut self,
        core: &mut Core,
        which: PeerLeg,
        client: ClientId,
        status: u16,
    ) -> Fate {
        let Some(leg) = self.leg(which) else { return Fate::Lives };
        let Some((_, key)) = leg.told.out.take_if(|(out, _)| *out == client) else {
            return Fate::Lives;
        };
        if matches!(status, 405 | 415 | 501) {
            leg.told.refused = true;
            let waiting = std::mem::take(&mut leg.told.waiting);
            for key in std::iter::once(key).chain(waiting) {
                self.order(core, which, Order::Press(key));
            }
        }
        self.tell_next_key(core, which);
        Fate::Lives
    }
}

/// How keys are told on a trunk.
fn dtmf(trunk: &Trunk) -> Dtmf {
    trunk.terms.dtmf
}

/// `Signal=5` and `Duration=160` on lines of their own, in any order and with any spaces.
fn relayed(body: &str) -> Result<Key, ()> {
    let (mut event, mut held) = (None, HELD);
    for line in body.lines() {
        let Some((name, value)) = line.split_once('=') else { continue };
        match name.trim().to_ascii_lowercase().as_str() {
            "signal" => event = Some(event_of(value)?),
            "duration" => {
                let ms = value.trim().parse::<u32>().map_err(|_| ())?;
                held = Duration::from_millis(ms.into());
            }
            _ => {}
        }
    }
    event.map(|event| Key { event, held }).ok_or(())
}

/// The key alone, or `Signal=` with it.
fn bare(body: &str) -> Result<Key, ()> {
    match body.contains('=') {
        true => relayed(body),
        false => event_of(body).map(|event| Key { event, held: HELD }),
    }
}

/// The event of a key as it is written: the key, or the number of its event.
fn event_of(written: &str) -> Result<u8, ()> {
    let written = written.trim();
    if let Some(event) = SIGNALS.iter().position(|signal| written.eq_ignore_ascii_case(signal)) {
        return u8::try_from(event).map_err(|_| ());
    }
    match written {
        "!" | "hf" | "HF" | "flash" => Ok(FLASH),
        number => number.parse().ok().filter(|event| *event <= FLASH).ok_or(()),
    }
}

fn signal(event: u8) -> Option<&'static str> {
    match event {
        FLASH => Some("hf"),
        key => SIGNALS.get(usize::from(key)).copied(),
    }
}

/// The keys, each at its event (RFC 4733, 3.2).
const SIGNALS: [&str; 16] =
    ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "*", "#", "A", "B", "C", "D"];
const FLASH: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: Result<Key, ()>) -> Option<(u8, u128)> {
        key.ok().map(|key| (key.event, key.held.as_millis()))
    }

    #[test]
    fn keys_are_read_as_carriers_write_them() {
        for (body, key) in [
            ("Signal=5\r\nDuration=250\r\n", Some((5, 250))),
            ("Signal= *\nDuration= 100", Some((10, 100))),
            ("Duration=90\r\nSignal=#", Some((11, 90))),
            ("signal=d", Some((15, 160))),
            ("Signal=11\r\n", Some((11, 160))),
            ("Signal=hf", Some((16, 160))),
            ("Signal=17", None),
            ("Signal=55", None),
            ("Signal=5\r\nDuration=long", None),
            ("Duration=100", None),
            ("", None),
        ] {
            assert_eq!(read(relayed(body)), key, "{body:?}");
        }
        for (body, key) in
            [("7", Some(7)), (" # \r\n", Some(11)), ("Signal=1", Some(1)), ("12345", None)]
        {
            assert_eq!(read(bare(body)).map(|(event, _)| event), key, "{body:?}");
        }
    }

    #[test]
    fn what_we_write_we_read() {
        for event in 0..=FLASH {
            let body = format!("Signal={}\r\nDuration=100\r\n", signal(event).unwrap());
            assert_eq!(read(relayed(&body)), Some((event, 100)));
        }
        assert_eq!(signal(17), None);
    }
}
