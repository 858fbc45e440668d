//! The far side's description, reduced to the one stream that we can agree: audio, or a fax.

use crate::ability::{Ability, Security};
use crate::crypto::CryptoLine;
use crate::direction::Direction;
use crate::dtls::RemoteDtls;
use crate::fax::{self, Fax};
use crate::ice::RemoteIce;
use crate::pair::Media;
use crate::payload::Payload;
use crate::refusal::Refusal;
use crate::section::{Connection, MediaDescription, MediaLine, socket};
use crate::suite::{SrtpKey, Suite};
use crate::text::{SdpError, SessionDescription};
use crate::write::{Draft, Slot};
use bytes::Bytes;
use std::net::SocketAddr;

/// Most keys that the far side may protect with: a packet that fails under all of them was tried
/// this often.
const MAX_REMOTE_KEYS: usize = 4;

/// What the far side described.
#[derive(Clone)]
pub(crate) struct Remote {
    pub(crate) body: Bytes,
    pub(crate) media: Media,
    pub(crate) proto: String,
    /// Every m-line in its place, for the answer.
    pub(crate) slots: Vec<Slot>,
    pub(crate) rtp: Option<SocketAddr>,
    /// Where RTCP goes if it is not multiplexed.
    pub(crate) rtcp: Option<SocketAddr>,
    pub(crate) rtcp_mux: bool,
    pub(crate) crypto: Option<RemoteCrypto>,
    pub(crate) dtls: Option<RemoteDtls>,
    pub(crate) ice: Option<RemoteIce>,
}

/// How an m-line is protected.
pub(crate) enum Protection {
    None,
    Sdes(RemoteCrypto),
    Dtls(RemoteDtls),
}

/// What of an offer that leaves a choice we take.
#[derive(Clone, Copy)]
pub(crate) struct Preference {
    /// The suite in force.
    pub(crate) suite: Option<Suite>,
    pub(crate) dtls: DtlsPreference,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum DtlsPreference {
    Never,
    /// Where there is no crypto line that we can use.
    Second,
    First,
}

/// The keys of the far side, and the tag that an answer echoes.
#[derive(Clone)]
pub(crate) struct RemoteCrypto {
    pub(crate) tag: u32,
    pub(crate) suite: Suite,
    pub(crate) keys: Vec<SrtpKey>,
}

impl Remote {
    /// Reads an offer: the first audio m-line that `ability` allows. A suite already in force on
    /// this leg is kept if it is offered again: our master key stays, and one key must not start
    /// anew under another suite.
    pub(crate) fn offer(
        body: &[u8],
        ability: &Ability,
        preference: Preference,
    ) -> Result<Self, Refusal> {
        let sdp = SessionDescription::parse(body)?;
        let mut refusal = None;
        for (at, media) in sdp.media().enumerate().filter(|(_, media)| is_audio(media.line())) {
            let protection = secured(&media, ability.security).and_then(|secured| match secured {
                true => preferred(&media, ability, preference),
                false => Ok(Protection::None),
            });
            let read = protection.and_then(|p| Self::read(&sdp, body, at, &media, p, &[]));
            match read {
                Ok(remote) => return Ok(remote),
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
        // Speech goes first: who offers both may still ask for the fax alone.
        match refusal {
            Some(refusal) => Err(refusal),
            None => Self::fax_offered(&sdp, body, ability),
        }
    }

    /// The first image of an offer without audio, where it may be carried.
    fn fax_offered(
        sdp: &SessionDescription,
        body: &[u8],
        ability: &Ability,
    ) -> Result<Self, Refusal> {
        let mut images = sdp.media().enumerate().filter(|(_, media)| fax::is_image(media.line()));
        let (at, media) = images.next().ok_or(Refusal::NoAudio)?;
        match ability.fax && fax::is_fax(media.line()) {
            true => Self::read_fax(sdp, body, at, &media),
            false => Err(Refusal::NoFax),
        }
    }

    /// Reads an answer to `offer`.
    pub(crate) fn answer(body: &[u8], offer: &Draft) -> Result<Self, Refusal> {
        let sdp = SessionDescription::parse(body)?;
        let ours = offer.slots.iter().position(Slot::is_agreed).unwrap_or(0);
        let (is_ours, refusal): (fn(&MediaLine<'_>) -> bool, _) = match offer.media.fax {
            Some(_) => (fax::is_fax, Refusal::NoFax),
            None => (is_audio, Refusal::NoAudio),
        };
        let in_place =
            |(at, media): &(usize, MediaDescription<'_>)| *at == ours && is_ours(media.line());
        // An answer that lists fewer m-lines than the offer is wrong, but says what it means.
        let (at, media) = sdp
            .media()
            .enumerate()
            .find(in_place)
            .or_else(|| sdp.media().enumerate().find(|(_, media)| is_ours(media.line())))
            .ok_or(refusal)?;
        if offer.media.fax.is_some() {
            return Self::read_fax(&sdp, body, at, &media);
        }
        let protection = match (&offer.crypto[..], &offer.dtls) {
            ([], None) => secured(&media, Security::Off).map(|_| Protection::None)?,
            ([], Some(_)) => {
                secured(&media, Security::Required)?;
                Protection::Dtls(RemoteDtls::read(&media).ok_or(Refusal::NoFingerprint)?)
            }
            (offered, _) => {
                secured(&media, Security::Required)?;
                Protection::Sdes(answered(&media, offered).ok_or(Refusal::SrtpRequired)?)
            }
        };
        Self::read(&sdp, body, at, &media, protection, &offer.media.payloads)
    }

    /// Whether `body` says what this one said; the origin line may count on.
    pub(crate) fn says_the_same(&self, body: &[u8]) -> bool {
        fn told(body: &[u8]) -> impl Iterator<Item = &[u8]> {
            body.split(|octet| *octet == b'\n').filter(|line| !line.starts_with(b"o="))
        }
        told(&self.body).eq(told(body))
    }

    fn read(
        sdp: &SessionDescription,
        body: &[u8],
        at: usize,
        media: &MediaDescription<'_>,
        protection: Protection,
        offered: &[Payload],
    ) -> Result<Self, Refusal> {
        let connection = connection(media)?;
        let payloads = media.payloads_with(offered);
        if !payloads.iter().any(Payload::is_speech) {
            return Err(Refusal::NoCommonCodec);
        }
        let rtp = connection.socket(media.line().port);
        let rtcp = rtp.and_then(|rtp| match media.rtcp() {
            Some((port, address)) => socket(address.unwrap_or(rtp.ip()), port),
            None => socket(rtp.ip(), rtp.port().checked_add(1)?),
        });
        let direction = direction(connection, media);
        let (crypto, dtls) = match protection {
            Protection::None => (None, None),
            Protection::Sdes(crypto) => (Some(crypto), None),
            Protection::Dtls(dtls) => (None, Some(dtls)),
        };
        Ok(Self {
            body: Bytes::copy_from_slice(body),
            media: Media { payloads, direction, ptime_ms: media.ptime_ms(), fax: None },
            proto: media.line().proto.to_owned(),
            slots: slots(sdp, at),
            rtp,
            rtcp,
            rtcp_mux: media.rtcp_mux(),
            crypto,
            dtls,
            ice: RemoteIce::read(media.session(), media, rtp),
        })
    }

    fn read_fax(
        sdp: &SessionDescription,
        body: &[u8],
        at: usize,
        media: &MediaDescription<'_>,
    ) -> Result<Self, Refusal> {
        let connection = connection(media)?;
        let fax = Some(Fax::read(media.section()));
        let direction = direction(connection, media);
        Ok(Self {
            body: Bytes::copy_from_slice(body),
            media: Media { payloads: Vec::new(), direction, ptime_ms: None, fax },
            proto: media.line().proto.to_owned(),
            slots: slots(sdp, at),
            rtp: connection.socket(media.line().port),
            rtcp: None,
            rtcp_mux: false,
            crypto: None,
            dtls: None,
            ice: None,
        })
    }
}

fn connection(media: &MediaDescription<'_>) -> Result<Connection, SdpError> {
    let line = media.line_index() + 1;
    media.connection().ok_or(SdpError { what: "no c= for an m-line", line })
}

fn direction(connection: Connection, media: &MediaDescription<'_>) -> Direction {
    if connection.is_hold() { Direction::Inactive } else { media.direction() }
}

/// The m-lines of an answer that takes the one at `taken`. Where the far side groups its lines, that one
/// keeps its name, though we group none (RFC 5888, 9.1; RFC 9143, 7.3).
fn slots(sdp: &SessionDescription, taken: usize) -> Vec<Slot> {
    let groups = sdp.session().attribute("group").next().is_some();
    let slot = |(at, media): (usize, MediaDescription<'_>)| match at == taken {
        true => Slot::Agreed { mid: media.mid().filter(|_| groups).map(str::to_owned) },
        false => Slot::refused(media.line()),
    };
    sdp.media().enumerate().map(slot).collect()
}

/// Whether the m-line is audio that is not refused.
fn is_audio(line: &MediaLine<'_>) -> bool {
    line.media.eq_ignore_ascii_case("audio") && line.port != 0
}

/// Whether the m-line asks for SRTP, if that may be carried at all. A plain profile with crypto lines
/// that can be used asks for it, too: what many call best-effort SRTP.
fn secured(media: &MediaDescription<'_>, security: Security) -> Result<bool, Refusal> {
    const PLAIN: [&str; 4] = ["RTP/AVP", "RTP/AVPF", "UDP/RTP/AVP", "UDP/RTP/AVPF"];
    const SECURED: [&str; 6] = [
        "RTP/SAVP",
        "RTP/SAVPF",
        "UDP/RTP/SAVP",
        "UDP/RTP/SAVPF",
        "UDP/TLS/RTP/SAVP",
        "UDP/TLS/RTP/SAVPF",
    ];
    let is = |known: &&str| media.line().proto.eq_ignore_ascii_case(known);
    match (PLAIN.iter().any(is), SECURED.iter().any(is), security) {
        (true, _, Security::Off) => Ok(false),
        (_, true, Security::Off) => Err(Refusal::SrtpNotAllowed),
        (true, _, _) if media.crypto().next().is_some() => Ok(true),
        (true, _, Security::Required) => Err(Refusal::SrtpRequired),
        (true, _, Security::Preferred) => Ok(false),
        (_, true, _) => Ok(true),
        _ => Err(Refusal::NoAudio),
    }
}

/// How we answer an offer of SRTP: by its crypto lines or by its fingerprint.
fn preferred(
    media: &MediaDescription<'_>,
    ability: &Ability,
    preference: Preference,
) -> Result<Protection, Refusal> {
    let dtls = || match preference.dtls {
        DtlsPreference::Never => None,
        DtlsPreference::Second | DtlsPreference::First => {
            RemoteDtls::read(media).map(Protection::Dtls)
        }
    };
    let sdes = || chosen(media, ability, preference.suite).map(Protection::Sdes);
    let taken = match preference.dtls {
        DtlsPreference::First => dtls().or_else(sdes),
        DtlsPreference::Second | DtlsPreference::Never => sdes().or_else(dtls),
    };
    let shown = media.has_fingerprint() && media.section().attribute("crypto").next().is_none();
    let refusal = match shown && preference.dtls != DtlsPreference::Never {
        true => Refusal::NoFingerprint,
        false => Refusal::SrtpRequired,
    };
    taken.ok_or(refusal)
}

/// The crypto line of an offer that we take, wherever it stands (TDR-SDP-002): that of the suite in
/// force, else of the suite we prefer; without MKI before with (TDR-SDP-003).
fn chosen(
    media: &MediaDescription<'_>,
    ability: &Ability,
    in_force: Option<Suite>,
) -> Option<RemoteCrypto> {
    let ranked = media.crypto().filter_map(|line| {
        let place = ability.suites.place(line.suite)?;
        Some(((in_force != Some(line.suite), place, line.has_mki()), line))
    });
    let (_, CryptoLine { tag, suite, keys }) = ranked.min_by_key(|(rank, _)| *rank)?;
    Some(RemoteCrypto { tag, suite, keys })
}

/// The keys of an answer to these lines of ours: all of the suite that it takes, whatever their tags
/// (TDR-SDP-003): which of several lines Teams means only its packets tell. The suite is that of the
/// first line that echoes a tag of ours with its suite, else of the first whose suite we offered.
fn answered(media: &MediaDescription<'_>, offered: &[(u32, SrtpKey)]) -> Option<RemoteCrypto> {
    let is_of = |line: &CryptoLine, key: &SrtpKey| key.suite() == line.suite;
    let lines = media.crypto().filter(|line| offered.iter().any(|(_, key)| is_of(line, key)));
    let lines: Vec<CryptoLine> = lines.collect();
    let echoes =
        |line: &&CryptoLine| offered.iter().any(|(tag, key)| *tag == line.tag && is_of(line, key));
    let CryptoLine { tag, suite, .. } = *lines.iter().find(echoes).or(lines.first())?;
    let taken = lines.into_iter().filter(|line| line.suite == suite);
    let mut keys: Vec<SrtpKey> = taken.flat_map(|line| line.keys).collect();
    keys.sort_by_key(|key| key.mki().is_some());
    keys.truncate(MAX_REMOTE_KEYS);
    Some(RemoteCrypto { tag, suite, keys })
}
