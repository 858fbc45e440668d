//! RTCP compounds: what of the far side's reports the other leg may see, and reports of our own
//! (RFC 3550, 6.4).
//!
//! Relayed are sender and receiver reports and the VoIP metrics of RFC 3611, with their SSRCs as the
//! other leg knows them. BYE, APP and feedback speak about one leg (TDR-SRTP-006), an SDES names its
//! host: they stay, and the compound gets a CNAME of ours.

use crate::packet::PACKET_MAX;
use crate::reception::Reported;
use crate::srtp::Origin;
use crate::{DropReason, PacketBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const EXTENDED_REPORT: u8 = 207;
/// The VoIP metrics block (RFC 3611, 4.7), and its octets.
const VOIP_METRICS: u8 = 7;
const VOIP_METRICS_SIZE: usize = 36;
/// Octets of a report block.
const BLOCK: usize = 24;
/// Octets of an SDES packet with one CNAME of ours: header, SSRC, item, padding.
const SDES: usize = 28;
/// From the NTP era's start (1900) to Unix' (1970), in seconds.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// A CNAME that says nothing about anybody (RFC 7022).
pub(crate) type Cname = [u8; 16];

/// A sender report that came in, as DLSR needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Who sent it.
    pub(crate) ssrc: u32,
    /// The middle 32 bits of its NTP timestamp.
    pub(crate) ntp_middle: u32,
}

/// A report block about a source of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ToldBlock {
    /// Lost altogether.
    pub(crate) lost: i32,
    /// In units of the clock.
    pub(crate) jitter: u32,
    /// The NTP middle of the sender report that it answers, and how long ago that came, in 1/65536 s;
    /// 0 if none did.
    pub(crate) last: u32,
    pub(crate) since_last: u32,
}

/// What a compound says to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// The sender report it holds.
    pub(crate) heard: Option<Heard>,
    /// Its report block about the source that was asked for.
    pub(crate) told: Option<ToldBlock>,
}

/// Reads a compound; `ours` is the source that we send to who wrote it.
pub(crate) fn read(packet: &[u8], ours: Option<u32>) -> Result<Said, DropReason> {
    let (mut rest, mut said) = (packet, Said::default());
    while !rest.is_empty() {
        let (report, kind, fixed, blocks);
        (report, kind, rest) = split(rest)?;
        (fixed, blocks) = match kind {
            SENDER_REPORT | RECEIVER_REPORT => reports(report, kind)?,
            _ => continue,
        };
        if kind == SENDER_REPORT {
            said.heard = Some(Heard::of(report));
        }
        for at in (0..blocks).map(|n| fixed + n * BLOCK) {
            if Some(word(report, at)) == ours {
                said.told = Some(ToldBlock {
                    lost: (word(report, at + 4) << 8) as i32 >> 8,
                    jitter: word(report, at + 12),
                    last: word(report, at + 16),
                    since_last: word(report, at + 20),
                });
            }
        }
    }
    Ok(said)
}

/// Who sends a compound.
pub(crate) fn sender(compound: &[u8]) -> Option<u32> {
    compound.get(4..8)?.first_chunk().map(|ssrc| u32::from_be_bytes(*ssrc))
}

/// The first packet of a compound, its type, and what follows.
fn split(compound: &[u8]) -> Result<(&[u8], u8, &[u8]), DropReason> {
    let [first, kind, high, low, ..] = *compound else { return Err(DropReason::Malformed) };
    let size = 4 * (1 + usize::from(u16::from_be_bytes([high, low])));
    if first >> 6 != 2 || size > compound.len() {
        return Err(DropReason::Malformed);
    }
    let (packet, rest) = compound.split_at(size);
    Ok((packet, kind, rest))
}

/// Where the blocks of a report begin, and how many there are.
fn reports(report: &[u8], kind: u8) -> Result<(usize, usize), DropReason> {
    let fixed = if kind == SENDER_REPORT { 28 } else { 8 };
    let blocks = usize::from(report[0] & 0x1f);
    if fixed + blocks * BLOCK > report.len() {
        return Err(DropReason::Malformed);
    }
    Ok((fixed, blocks))
}

impl Heard {
    fn of(report: &[u8]) -> Self {
        Self { ssrc: word(report, 4), ntp_middle: word(report, 8) << 16 | word(report, 12) >> 16 }
    }
}

/// How a compound's SSRCs are to be named on the other leg.
pub(crate) trait Names {
    /// What a source of this leg is sent as on the other.
    fn outward(&self, source: u32) -> u32;
    /// A timestamp of a source of this leg as the other leg's clock has it.
    fn timestamp(&self, source: u32, timestamp: u32) -> u32;
    /// Jitter of a source on the other leg, from this leg's clock to its own.
    fn jitter(&self, source: u32, jitter: u32) -> u32;
    /// The source on the other leg that this leg knows as `ssrc`; `None` if there is none (any more).
    fn origin(&self, ssrc: u32) -> Option<Origin>;
    /// The last sender report of ours on this leg, which the other leg knows nothing of.
    fn own_report(&self) -> Option<u32>;
}

/// Rewrites a compound in place for the other leg; whether anything is left to send.
pub(crate) fn relay(
    slot: &mut PacketBuf,
    names: &impl Names,
    cname: &Cname,
) -> Result<bool, DropReason> {
    let (mut read, mut written, mut reporter) = (0, 0, None);
    let packet = slot.packet_mut();
    while read < packet.len() {
        let (report, kind, _) = split(&packet[read..])?;
        let size = report.len();
        let (fixed, blocks) = match kind {
            SENDER_REPORT | RECEIVER_REPORT => reports(report, kind)?,
            EXTENDED_REPORT if reporter.is_some() => {
                written = relay_metrics(packet, read..read + size, written, names);
                read += size;
                continue;
            }
            _ => {
                read += size;
                continue;
            }
        };
        let source = word(packet, read + 4);
        let ssrc = names.outward(source);
        reporter = reporter.or(Some(ssrc));
        let at = written;
        packet.copy_within(read..read + fixed, at);
        set_word(packet, at + 4, ssrc);
        if kind == SENDER_REPORT {
            set_word(packet, at + 16, names.timestamp(source, word(packet, at + 16)));
        }
        written += fixed;
        let mut kept = 0;
        for block in (0..blocks).map(|n| read + fixed + n * BLOCK) {
            if let Some(origin) = names.origin(word(packet, block)) {
                packet.copy_within(block..block + BLOCK, written);
                rename(packet, written, origin, names.own_report());
                let jitter = names.jitter(origin.ssrc, word(packet, written + 12));
                set_word(packet, written + 12, jitter);
                written += BLOCK;
                kept += 1;
            }
        }
        set_header(packet, at, kind, kept, written - at);
        read += size;
    }
    slot.set_len(written);
    if let Some(ssrc) = reporter {
        append_sdes(slot, ssrc, cname)?;
    }
    Ok(reporter.is_some())
}

/// Writes the VoIP metrics of an extended report to `written`, in the other leg's names, if it holds any;
/// returns where that ends. Its other blocks speak of sequence numbers and clocks of one leg.
fn relay_metrics(
    packet: &mut [u8],
    report: std::ops::Range<usize>,
    at: usize,
    names: &impl Names,
) -> usize {
    const FIXED: usize = 8;
    if report.len() < FIXED {
        return at;
    }
    let ssrc = names.outward(word(packet, report.start + 4));
    let (mut read, mut written) = (report.start + FIXED, at + FIXED);
    while read + 4 <= report.end {
        let size = 4 * (1 + usize::from(u16::from_be_bytes([packet[read + 2], packet[read + 3]])));
        if size > report.end - read {
            break;
        }
        if packet[read] == VOIP_METRICS
            && size == VOIP_METRICS_SIZE
            && let Some(origin) = names.origin(word(packet, read + 4))
        {
            packet.copy_within(read..read + size, written);
            set_word(packet, written + 4, origin.ssrc);
            written += size;
        }
        read += size;
    }
    if written == at + FIXED {
        return at;
    }
    set_header(packet, at, EXTENDED_REPORT, 0, written - at);
    set_word(packet, at + 4, ssrc);
    written
}

/// Gives a report block the source's own SSRC and sequence numbers.
fn rename(packet: &mut [u8], at: usize, origin: Origin, own_report: Option<u32>) {
    set_word(packet, at, origin.ssrc);
    let highest = word(packet, at + 8).wrapping_add(u32::from(origin.sequence_shift));
    set_word(packet, at + 8, highest);
    if own_report == Some(word(packet, at + 16)) {
        // It answers a report of ours: to the other leg, none was received (RFC 3550, 6.4.1).
        packet[at + 16..at + BLOCK].fill(0);
    }
}

/// What a report of our own says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnReport {
    /// The source that reports.
    pub(crate) ssrc: u32,
    /// What it sent; `None` if it sent nothing since the last report.
    pub(crate) sent: Option<SentSoFar>,
    /// What came in on this leg.
    pub(crate) block: Option<OwnBlock>,
}

/// The sender's part of a report (RFC 3550, 6.4.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct SentSoFar {
    pub(crate) wall: SystemTime,
    /// The RTP timestamp at `wall`.
    pub(crate) timestamp: u32,
    pub(crate) packets: u32,
    /// Payload octets.
    pub(crate) octets: u32,
}

/// One report block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnBlock {
    pub(crate) reported: Reported,
    /// The last sender report's NTP middle, and the time since then in 1/65536 s; 0 if none came.
    pub(crate) last: u32,
    pub(crate) since_last: u32,
}

/// Writes a compound of our own into the slot. Returns the NTP middle that the far side will answer
/// to, if it is a sender report.
pub(crate) fn write(
    slot: &mut PacketBuf,
    report: &OwnReport,
    cname: &Cname,
) -> Result<Option<u32>, DropReason> {
    let mut words = [0; 13];
    words[1] = report.ssrc;
    let mut len = 2;
    let mut ntp_middle = None;
    if let Some(sent) = report.sent {
        let ntp = ntp(sent.wall);
        ntp_middle = Some((ntp >> 16) as u32);
        let part = [(ntp >> 32) as u32, ntp as u32, sent.timestamp, sent.packets, sent.octets];
        words[2..7].copy_from_slice(&part);
        len = 7;
    }
    if let Some(OwnBlock { reported, last, since_last }) = report.block {
        let loss = u32::from(reported.fraction_lost) << 24 | reported.lost as u32 & 0xff_ffff;
        let part = [reported.ssrc, loss, reported.highest, reported.jitter, last, since_last];
        words[len..len + 6].copy_from_slice(&part);
        len += 6;
    }
    slot.set_len(4 * len);
    let packet = slot.packet_mut();
    for (at, value) in words[..len].iter().enumerate() {
        set_word(packet, 4 * at, *value);
    }
    let kind = if report.sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
    set_header(packet, 0, kind, u8::from(report.block.is_some()), 4 * len);
    append_sdes(slot, report.ssrc, cname)?;
    Ok(ntp_middle)
}

/// The NTP timestamp of a wall clock time.
fn ntp(wall: SystemTime) -> u64 {
    let since = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
    (since.as_secs().wrapping_add(NTP_TO_UNIX_S)) << 32 | fraction
}

/// Ends a compound of ours: the source says good-bye (RFC 3550, 6.6).
pub(crate) fn append_bye(slot: &mut PacketBuf, ssrc: u32) -> Result<(), DropReason> {
    const SIZE: usize = 8;
    let at = slot.len();
    if at + SIZE > PACKET_MAX {
        return Err(DropReason::TooBig);
    }
    slot.set_len(at + SIZE);
    let packet = slot.packet_mut();
    set_header(packet, at, BYE, 1, SIZE);
    set_word(packet, at + 4, ssrc);
    Ok(())
}

fn append_sdes(slot: &mut PacketBuf, ssrc: u32, cname: &Cname) -> Result<(), DropReason> {
    let at = slot.len();
    if at + SDES > PACKET_MAX {
        return Err(DropReason::TooBig);
    }
    slot.set_len(at + SDES);
    let packet = slot.packet_mut();
    packet[at..].fill(0);
    set_header(packet, at, SOURCE_DESCRIPTION, 1, SDES);
    set_word(packet, at + 4, ssrc);
    packet[at + 8..at + 10].copy_from_slice(&[1, cname.len() as u8]);
    packet[at + 10..at + 26].copy_from_slice(cname);
    Ok(())
}

fn set_header(packet: &mut [u8], at: usize, kind: u8, count: u8, size: usize) {
    let words = (size / 4 - 1) as u16;
    packet[at..at + 2].copy_from_slice(&[0x80 | count, kind]);
    packet[at + 2..at + 4].copy_from_slice(&words.to_be_bytes());
}

/// The word at `at`, which the caller knows to be inside.
fn word(packet: &[u8], at: usize) -> u32 {
    packet[at..at + 4].iter().fold(0, |word, &octet| word << 8 | u32::from(octet))
}

fn set_word(packet: &mut [u8], at: usize, value: u32) {
    packet[at..at + 4].copy_from_slice(&value.to_be_bytes());
}
