//! `music_on_hold`: a tone, or a WAV file, read when the configuration is.

use super::problem::{At, Problems};
use super::reader::Reader;
use super::trunk::TrunkDraft;
use super::{source, value};
use media::g711::{Law, RATE_HZ};
use sdp::{Recording, Sound, Tone};
use std::path::Path;

/// The tone instead of a file.
const TONE: &str = "tone";
/// A file: ten minutes at 16 kHz in 16 bits are 19 MB, and half of that in memory.
const FILE_SIZE_MAX: u64 = 20 << 20;

/// Reads the key of a `[[trunk]]`.
pub(super) fn read(table: &mut Reader<'_>, teams: bool) -> Option<At<String>> {
    if teams {
        table.idle("music_on_hold", "Teams plays its own");
        return None;
    }
    table.optional("music_on_hold", value::path)
}

/// The file, as written.
pub(super) fn named(written: &At<String>) -> Option<&str> {
    Some(written.value.as_str()).filter(|name| *name != TONE)
}

/// The sound; `None` if it cannot be had, which is told.
pub(super) fn load(
    directory: &Path,
    draft: &TrunkDraft,
    problems: &Problems,
) -> Option<Option<Sound>> {
    let Some(written) = &draft.music_on_hold else { return Some(None) };
    let Some(name) = named(written) else { return Some(Some(Sound::Tone(Tone::HOLDING))) };
    let path = directory.join(name);
    let read = source::bounded(&path, FILE_SIZE_MAX)
        .map_err(|error| format!("cannot be read: {error}"))
        .and_then(|octets| recording(&octets));
    match read {
        Ok(recording) => Some(Some(Sound::Recording(recording))),
        Err(why) => {
            let message = format!("{}: music_on_hold: {} {why}", draft.whose, path.display());
            let hint = "sox music.mp3 -r 8000 -c 1 -b 16 music.wav";
            problems.error(written.place, message, Some(hint.to_owned()));
            None
        }
    }
}

/// What `fmt ` says of the samples.
#[derive(Clone, Copy)]
struct Format {
    code: u16,
    channels: u16,
    rate_hz: u32,
    bits: u16,
}

/// PCM, A-law and mu-law as WAV names them, and the format that names one of them further on.
const PCM: u16 = 1;
const ALAW: u16 = 6;
const MULAW: u16 = 7;
const EXTENSIBLE: u16 = 0xfffe;

/// Reads a WAV file (RIFF): mono, 16-bit PCM at 8 or 16 kHz, or G.711 at 8.
fn recording(octets: &[u8]) -> Result<Recording, String> {
    let no_wav = || "is no WAV file".to_owned();
    let head = octets.get(..12).ok_or_else(no_wav)?;
    if &head[..4] != b"RIFF" || &head[8..] != b"WAVE" {
        return Err(no_wav());
    }
    let (mut format, mut rest) = (None, &octets[12..]);
    while let Some((name, length)) = rest.split_first_chunk::<4>().and_then(|(name, rest)| {
        let (length, _) = rest.split_first_chunk::<4>()?;
        Some((*name, u32::from_le_bytes(*length) as usize))
    }) {
        let body = &rest[8..];
        // Who writes to a pipe leaves the length of the last chunk open.
        let chunk = body.get(..length).unwrap_or(body);
        match &name {
            b"fmt " => format = Some(format_of(chunk).ok_or("has a format that is cut off")?),
            b"data" => {
                let format = format.ok_or("has no format before its samples")?;
                let samples = samples(format, chunk)?;
                return Recording::new(samples).ok_or_else(|| "holds no samples".to_owned());
            }
            _ => {}
        }
        rest = body.get(length + (length & 1)..).unwrap_or_default();
    }
    Err("holds no samples".to_owned())
}

fn format_of(chunk: &[u8]) -> Option<Format> {
    let word = |at: usize| Some(u16::from_le_bytes(*chunk.get(at..)?.first_chunk::<2>()?));
    let code = match word(0)? {
        EXTENSIBLE => word(24)?,
        code => code,
    };
    let rate_hz = u32::from_le_bytes(*chunk.get(4..)?.first_chunk::<4>()?);
    Some(Format { code, channels: word(2)?, rate_hz, bits: word(14)? })
}

fn samples(format: Format, data: &[u8]) -> Result<Vec<i16>, String> {
    let Format { code, channels, rate_hz, bits } = format;
    if channels != 1 {
        return Err(format!("has {channels} channels; one is wanted"));
    }
    match (code, bits, rate_hz) {
        (PCM, 16, RATE_HZ) => Ok(words(data).collect()),
        (PCM, 16, 16_000) => Ok(halved(&words(data).collect::<Vec<_>>())),
        (ALAW, 8, RATE_HZ) => Ok(data.iter().map(|octet| Law::A.decode(*octet)).collect()),
        (MULAW, 8, RATE_HZ) => Ok(data.iter().map(|octet| Law::Mu.decode(*octet)).collect()),
        (PCM | ALAW | MULAW, ..) => Err(format!(
            "has {bits} bits at {rate_hz} Hz; 16 bits at 8000 or 16000 Hz, or G.711, are wanted"
        )),
        _ => Err(format!("is encoded as {code}; PCM or G.711 is wanted")),
    }
}

fn words(data: &[u8]) -> impl Iterator<Item = i16> {
    data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
}

/// Half a band, symmetric, every other coefficient but the middle zero: those on one side, in 1/65536.
const HALF_BAND: [i64; 6] = [20_684, -6_392, 3_251, -1_753, 876, -386];

/// Every other sample, without what is above 4 kHz.
fn halved(samples: &[i16]) -> Vec<i16> {
    let at = |place: Option<usize>| {
        i64::from(place.and_then(|place| samples.get(place)).copied().unwrap_or_default())
    };
    (0..samples.len())
        .step_by(2)
        .map(|middle| {
            let mut sum = at(Some(middle)) << 15;
            for (tap, gain) in HALF_BAND.iter().enumerate() {
                let away = 2 * tap + 1;
                sum += gain * (at(middle.checked_sub(away)) + at(Some(middle + away)));
            }
            (sum >> 16).clamp(i16::MIN.into(), i16::MAX.into()) as i16
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(code: u16, channels: u16, rate_hz: u32, bits: u16, data: &[u8]) -> Vec<u8> {
        let mut octets = b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0fmt \x10\0\0\0".to_vec();
        octets.extend([code, channels].iter().flat_map(|word| word.to_le_bytes()));
        octets.extend(rate_hz.to_le_bytes());
        octets.extend(0_u32.to_le_bytes());
        octets.extend([1, bits].iter().flat_map(|word| word.to_le_bytes()));
        octets.extend(b"data");
        octets.extend((data.len() as u32).to_le_bytes());
        octets.extend(data);
        octets
    }

    fn tone(hz: f64, rate_hz: u32) -> Vec<u8> {
        let sample = |at: u32| {
            (10_000.0 * (std::f64::consts::TAU * hz * f64::from(at) / f64::from(rate_hz)).sin())
                as i16
        };
        (0..rate_hz).flat_map(|at| sample(at).to_le_bytes()).collect()
    }

    fn loudness(recording: &Recording) -> f64 {
        let samples = &recording.samples()[100..7900];
        let sum: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
        (sum / samples.len() as f64).sqrt()
    }

    #[test]
    fn each_format_that_is_taken_is_read() {
        let read = recording(&wav(PCM, 1, 8000, 16, &[1, 0, 0xff, 0xff])).unwrap();
        assert_eq!(read.samples(), [1, -1]);
        let read = recording(&wav(ALAW, 1, 8000, 8, &[0xd5, 0x55])).unwrap();
        assert_eq!(read.samples(), [8, -8]);
        let read = recording(&wav(MULAW, 1, 8000, 8, &[0xff])).unwrap();
        assert_eq!(read.samples(), [0]);
        // A length that was left open.
        let mut open = wav(PCM, 1, 8000, 16, &[1, 0, 2, 0]);
        let at = open.len() - 8;
        open[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(recording(&open).unwrap().samples(), [1, 2]);
    }

    #[test]
    fn sixteen_kilohertz_become_eight_without_what_is_too_high() {
        let of = |hz| recording(&wav(PCM, 1, 16_000, 16, &tone(hz, 16_000))).unwrap();
        assert_eq!(of(440.0).samples().len(), 8000);
        for hz in [440.0, 1000.0, 2500.0] {
            let loud = loudness(&of(hz));
            assert!((6700.0..7400.0).contains(&loud), "{hz} Hz: {loud}");
        }
        for hz in [5500.0, 7000.0] {
            assert!(loudness(&of(hz)) < 700.0, "{hz} Hz: {}", loudness(&of(hz)));
        }
    }

    #[test]
    fn what_is_not_taken_is_told() {
        for (octets, why) in [
            (b"ID3".to_vec(), "is no WAV file"),
            (wav(PCM, 2, 8000, 16, &[0; 4]), "has 2 channels; one is wanted"),
            (
                wav(PCM, 1, 44_100, 16, &[0; 4]),
                "has 16 bits at 44100 Hz; 16 bits at 8000 or 16000 Hz, or G.711, are wanted",
            ),
            (wav(0x55, 1, 8000, 0, &[0; 4]), "is encoded as 85; PCM or G.711 is wanted"),
            (wav(PCM, 1, 8000, 16, &[]), "holds no samples"),
        ] {
            assert_eq!(recording(&octets).unwrap_err(), why);
        }
        let whole = wav(PCM, 1, 8000, 16, &[1, 0]);
        for end in 0..whole.len() - 1 {
            assert!(recording(&whole[..end]).is_err(), "{end}");
        }
    }
}
