//! SDP bytes to a [`SessionDescription`] and back, keeping every line that was not changed (RFC 8866).

use crate::line::{End, Line};
use crate::section::{MediaDescription, MediaLine, Origin, Section};
use bytes::{BufMut, Bytes, BytesMut};

/// Longest body read: a Teams bypass offer with all its candidates stays under 4 kB.
pub const MAX_LENGTH: usize = 16 * 1024;
/// Most lines read; about four times what a browser offers for one audio stream.
pub const MAX_LINES: usize = 512;
/// Most m-lines read: audio, video, sharing, T.38 and their second copies.
pub const MAX_MEDIA: usize = 16;

/// An SDP body, line by line as it came.
///
/// Reading is lenient: order, line ends, missing `s=` and `t=`, unknown line types and octets that
/// are not UTF-8 are all kept. Only what bounds and m-lines forbid is an error.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionDescription {
    lines: Vec<Line>,
}

/// Why an SDP body cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct SdpError {
    /// What is wrong.
    pub what: &'static str,
    /// The line, from 1.
    pub line: usize,
}

impl SessionDescription {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.len() > MAX_LENGTH {
            return Err(SdpError { what: "the body is too long", line: 1 });
        }
        let read = Self { lines: split(Bytes::copy_from_slice(body))? };
        read.check()?;
        Ok(read)
    }

    /// The body: untouched lines octet by octet as they came.
    pub fn to_bytes(&self) -> Bytes {
        let length = self.lines.iter().map(|line| line.text.len() + 2).sum();
        let mut body = BytesMut::with_capacity(length);
        for line in &self.lines {
            body.put_slice(&line.text);
            body.put_slice(line.end.octets());
        }
        body.freeze()
    }

    /// The lines without their ends.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.lines.iter().map(|line| &line.text[..])
    }

    /// Puts `text` (a whole line such as `a=inactive`, without its end) in the place of a line.
    pub fn set_line(&mut self, index: usize, text: &str) -> Result<(), SdpError> {
        let end = self.lines.get(index).ok_or(beyond(index))?.end;
        self.edit(index, text, |lines, text| lines[index] = Line { text, end })
    }

    /// Inserts a line before the one at `index`, or at the end.
    pub fn insert_line(&mut self, index: usize, text: &str) -> Result<(), SdpError> {
        if index > self.lines.len() {
            return Err(beyond(index));
        }
        let end = self.usual_end();
        self.edit(index, text, |lines, text| {
            if let Some(before) = lines[..index].last_mut()
                && before.end == End::Missing
            {
                before.end = end;
            }
            lines.insert(index, Line { text, end });
        })
    }

    /// Removes a line.
    pub fn remove_line(&mut self, index: usize) -> Result<(), SdpError> {
        if index >= self.lines.len() {
            return Err(beyond(index));
        }
        self.lines.remove(index);
        Ok(())
    }

    /// `o=`, if there is one that can be read.
    pub fn origin(&self) -> Option<Origin<'_>> {
        self.lines
            .iter()
            .find(|line| line.kind() == Some(b'o'))
            .and_then(|line| Origin::parse(line.value()))
    }

    /// What stands before the first m-line.
    pub fn session(&self) -> Section<'_> {
        let end = self.media_starts().next().unwrap_or(self.lines.len());
        Section::new(&self.lines[..end])
    }

    /// The m-lines with what belongs to each.
    pub fn media(&self) -> impl Iterator<Item = MediaDescription<'_>> {
        let session = self.session();
        let starts: Vec<usize> = self.media_starts().collect();
        let ends: Vec<usize> = starts.iter().skip(1).copied().chain([self.lines.len()]).collect();
        starts.into_iter().zip(ends).filter_map(move |(start, end)| {
            let line = MediaLine::parse(self.lines[start].value()).ok()?;
            let section = Section::new(&self.lines[start + 1..end]);
            Some(MediaDescription::new(start, line, section, session))
        })
    }

    fn media_starts(&self) -> impl Iterator<Item = usize> {
        self.lines
            .iter()
            .enumerate()
            .filter(|(_, line)| line.kind() == Some(b'm'))
            .map(|(at, _)| at)
    }

    fn usual_end(&self) -> End {
        match self.lines.first() {
            Some(Line { end: End::Lf, .. }) => End::Lf,
            _ => End::CrLf,
        }
    }

    /// Applies an edit only if what comes out can be read again.
    fn edit(
        &mut self,
        index: usize,
        text: &str,
        apply: impl FnOnce(&mut Vec<Line>, Bytes),
    ) -> Result<(), SdpError> {
        if text.contains(['\r', '\n', '\0']) {
            return Err(SdpError { what: "a line end inside a line", line: index + 1 });
        }
        let mut edited = self.clone();
        apply(&mut edited.lines, Bytes::copy_from_slice(text.as_bytes()));
        edited.check()?;
        *self = edited;
        Ok(())
    }

    /// What every description holds to, so that the views need not fail.
    fn check(&self) -> Result<(), SdpError> {
        let length: usize = self.lines.iter().map(|l| l.text.len() + l.end.octets().len()).sum();
        if length > MAX_LENGTH {
            return Err(SdpError { what: "the body is too long", line: 1 });
        }
        if self.lines.len() > MAX_LINES {
            return Err(SdpError { what: "too many lines", line: MAX_LINES + 1 });
        }
        let mut media = 0;
        for (at, line) in self.lines.iter().enumerate() {
            let wrong = |what| SdpError { what, line: at + 1 };
            match line.kind() {
                Some(b'v') if line.value() != b"0" => return Err(wrong("the version is not 0")),
                Some(b'm') => {
                    media += 1;
                    if media > MAX_MEDIA {
                        return Err(wrong("too many m-lines"));
                    }
                    MediaLine::parse(line.value()).map_err(wrong)?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for SessionDescription {
    /// Shows the lines, but no key: this may stand in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.lines.iter().map(|line| {
            let text = String::from_utf8_lossy(&line.text);
            match text.to_ascii_lowercase().find("inline:") {
                Some(at) => format!("{}inline:...", &text[..at]),
                None => text.into_owned(),
            }
        });
        f.debug_list().entries(shown).finish()
    }
}

fn split(body: Bytes) -> Result<Vec<Line>, SdpError> {
    let mut lines = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        if lines.len() == MAX_LINES {
            return Err(SdpError { what: "too many lines", line: MAX_LINES + 1 });
        }
        let Some(at) = rest.iter().position(|octet| *octet == b'\n') else {
            lines.push(Line { text: rest, end: End::Missing });
            break;
        };
        let mut text = rest.split_to(at + 1);
        let end = if text.ends_with(b"\r\n") { End::CrLf } else { End::Lf };
        text.truncate(text.len() - end.octets().len());
        lines.push(Line { text, end });
    }
    Ok(lines)
}

const fn beyond(index: usize) -> SdpError {
    SdpError { what: "no such line", line: index + 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section::MAX_FORMATS;

    fn read(body: &[u8]) -> SessionDescription {
        SessionDescription::parse(body).expect("readable")
    }

    #[test]
    fn line_ends_and_odd_lines_come_back_as_they_were() {
        let bodies: [&[u8]; 8] = [
            b"",
            b"\n",
            b"v=0\r\nm=audio 1 RTP/AVP 0\r\n",
            b"v=0\nm=audio 1 RTP/AVP 0\n",
            b"v=0\r\nm=audio 1 RTP/AVP 0",
            b"a=x\r\nv=0 \t\r\n\r\ny=unknown\r\r\n=\nnonsense\n",
            b"v=0\r\ns=J\xf6rg\r\nm=audio 1 RTP/AVP 0  \r\n",
            b"s=-\rt=0 0\rm=audio 1",
        ];
        for body in bodies {
            assert_eq!(&read(body).to_bytes()[..], body, "{}", body.escape_ascii());
        }
    }

    #[test]
    fn bounds_hold() {
        let long = vec![b'a'; MAX_LENGTH + 1];
        assert_eq!(SessionDescription::parse(&long).unwrap_err().what, "the body is too long");
        assert!(SessionDescription::parse(&"a\n".repeat(MAX_LINES).into_bytes()).is_ok());
        let lines = SessionDescription::parse(&"a\n".repeat(MAX_LINES + 1).into_bytes());
        assert_eq!(lines.unwrap_err(), SdpError { what: "too many lines", line: MAX_LINES + 1 });
        let media = "m=audio 1 RTP/AVP 0\n".repeat(MAX_MEDIA + 1);
        assert_eq!(
            SessionDescription::parse(media.as_bytes()).unwrap_err(),
            SdpError { what: "too many m-lines", line: MAX_MEDIA + 1 }
        );
        let formats = format!("m=audio 1 RTP/AVP{}", " 0".repeat(MAX_FORMATS + 1));
        assert_eq!(
            SessionDescription::parse(formats.as_bytes()).unwrap_err(),
            SdpError { what: "too many formats", line: 1 }
        );
    }

    #[test]
    fn an_edit_changes_its_line_only() {
        let mut sdp = read(b"v=0\ns=caf\xe9 \nm=audio 1 RTP/AVP 0\na=sendrecv");
        sdp.set_line(3, "a=inactive").unwrap();
        sdp.insert_line(4, "a=ptime:20").unwrap();
        sdp.insert_line(1, "i=new").unwrap();
        assert_eq!(
            &sdp.to_bytes()[..],
            b"v=0\ni=new\ns=caf\xe9 \nm=audio 1 RTP/AVP 0\na=inactive\na=ptime:20\n"
        );
        sdp.remove_line(1).unwrap();
        assert_eq!(sdp.lines().len(), 5);
    }

    #[test]
    fn an_edit_that_cannot_be_read_back_is_refused_and_leaves_the_body() {
        let mut sdp = read(b"v=0\r\nm=audio 1 RTP/AVP 0\r\n");
        let before = sdp.clone();
        assert!(sdp.set_line(0, "v=0\r\na=injected").is_err());
        assert!(sdp.set_line(1, "m=audio here RTP/AVP 0").is_err());
        assert!(sdp.set_line(2, "a=x").is_err());
        assert!(sdp.insert_line(3, "a=x").is_err());
        assert!(sdp.remove_line(2).is_err());
        assert_eq!(sdp, before);
    }

    #[test]
    fn no_key_is_shown() {
        let sdp =
            read(b"m=audio 1 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 INLINE:secret\r\n");
        let shown = format!("{sdp:?}");
        assert!(shown.contains("a=crypto:1 ") && !shown.contains("secret"), "{shown}");
    }
}
