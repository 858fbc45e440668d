//! The header fields of a message: lines as they came, lines of our own, and views of both
//! (RFC 3261, 7.3).

use super::name::{OTHER, code_of, code_to_the_letter};
use super::text::{
    Elements, decimal, is_lws, split_element, token_len, trim, trim_end, trim_start,
};
use super::{Name, NameAddr, Via};
use bytes::Bytes;
use smallvec::SmallVec;
use std::fmt;

/// Lines held without a heap allocation: more than Teams and common carriers send.
const INLINE_LINES: usize = 32;

/// Lines that were replaced leave their octets behind; above this many they are cleared out.
const GARBAGE_OCTETS: usize = 4096;

/// The header fields of a message, in order.
///
/// A line that was received and not touched is written as the octets it came in. The text of a
/// line of our own cannot break out of it: CR, LF and NUL in a value become spaces.
#[derive(Clone, Default)]
pub struct Headers {
    /// The message the lines came in.
    raw: Bytes,
    /// The text of our own lines.
    own: Vec<u8>,
    lines: SmallVec<[Line; INLINE_LINES]>,
    as_received: bool,
}

/// One header line: offsets into the received message or into our own text.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub(super) start: u32,
    pub(super) name_end: u32,
    pub(super) value_start: u32,
    pub(super) value_end: u32,
    /// After the line's CRLF.
    pub(super) end: u32,
    pub(super) code: u8,
    own: bool,
}

impl Line {
    /// A line of the received message. Its offsets fit, as messages are at most
    /// [`super::MAX_MESSAGE`] long.
    pub(super) fn received(
        name: (usize, usize),
        value: (usize, usize),
        end: usize,
        code: u8,
    ) -> Self {
        let [start, name_end, value_start, value_end, end] =
            [name.0, name.1, value.0, value.1, end].map(|at| at as u32);
        Self { start, name_end, value_start, value_end, end, code, own: false }
    }
}

impl Headers {
    /// The lines of a received message.
    pub(super) fn received(raw: Bytes, lines: SmallVec<[Line; INLINE_LINES]>) -> Self {
        Self { raw, own: Vec::new(), lines, as_received: true }
    }

    /// The first value under `name`, without surrounding white space.
    pub fn get(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// Each header line's value under `name`, in order.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let wanted = Wanted::new(name);
        self.lines.iter().filter(move |line| wanted.is(self, line)).map(|line| self.value(line))
    }

    /// Each list element under `name`: lines split at commas outside quotes and angle brackets.
    /// Empty elements are left out.
    pub fn list(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.all(name).flat_map(|value| Elements { rest: Some(value) })
    }

    /// Whether the list under `name` holds `token`, compared without case.
    pub fn has_token(&self, name: Name, token: &str) -> bool {
        self.list(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Appends a header line.
    pub fn push(&mut self, name: Name, value: impl Into<Bytes>) {
        let at = self.lines.len();
        self.insert(at, name, &value.into());
    }

    /// Inserts a header line above the first of its name (for Via, Route), or first of all.
    pub fn push_front(&mut self, name: Name, value: impl Into<Bytes>) {
        let at = self.position(name).unwrap_or(0);
        self.insert(at, name, &value.into());
    }

    /// Replaces the first line under `name` and removes the others, or appends.
    pub fn set(&mut self, name: Name, value: impl Into<Bytes>) {
        match self.position(name) {
            Some(first) => {
                self.remove(name);
                self.insert(first, name, &value.into());
            }
            None => self.push(name, value),
        }
    }

    /// Removes all lines under `name`; whether there was one.
    pub fn remove(&mut self, name: Name) -> bool {
        self.remove_wanted(Wanted::new(name))
    }

    fn remove_wanted(&mut self, wanted: Wanted<'_>) -> bool {
        let mut lines = std::mem::take(&mut self.lines);
        let before = lines.len();
        lines.retain(|line| !wanted.is(self, line));
        self.lines = lines;
        let removed = self.lines.len() < before;
        self.as_received &= !removed;
        removed
    }

    /// Removes the first list element under `name` (the top Via of a response).
    pub fn pop(&mut self, name: Name) {
        let Some(at) = self.position(name) else { return };
        let line = self.lines[at];
        self.as_received = false;
        self.lines.remove(at);
        let text = self.text(&line);
        let mut rest = Some(&text[line.value_start as usize..line.value_end as usize]);
        while let Some(value) = rest {
            let (element, after) = split_element(value);
            rest = after;
            if !trim(element).is_empty() {
                break;
            }
        }
        let Some(rest) = rest.map(trim).filter(|rest| !rest.is_empty()) else { return };
        let name = text[line.start as usize..line.name_end as usize].to_vec();
        let rest = rest.to_vec();
        self.insert_line(at, line.code, &name, &rest);
    }

    /// Each header line's value under a name that is only known at run time; a compact name counts as
    /// its long one.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let wanted = Wanted::named(name);
        self.lines.iter().filter(move |line| wanted.is(self, line)).map(|line| self.value(line))
    }

    /// Appends a header line under such a name; one that is no token is not written.
    pub fn push_named(&mut self, name: &str, value: impl Into<Bytes>) {
        if !name.is_empty() && token_len(name.as_bytes()) == name.len() {
            let at = self.lines.len();
            self.insert_line(at, code_of(name.as_bytes()), name.as_bytes(), &value.into());
        }
    }

    /// Removes all lines under such a name; whether there was one.
    pub fn remove_named(&mut self, name: &str) -> bool {
        self.remove_wanted(Wanted::named(name))
    }

    /// Appends the lines under `name` of another message, as they were written there.
    pub fn copy_from(&mut self, other: &Headers, name: Name) {
        let wanted = Wanted::new(name);
        for line in other.lines.iter().filter(|line| wanted.is(other, line)) {
            self.copy_line(other, line);
        }
    }

    /// All lines as written: name octets and value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (self.name(line), self.value(line)))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Whether there is no line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Where `part` stands in the message as it was received; `None` for what is not of it.
    pub fn offset(&self, part: &[u8]) -> Option<usize> {
        let at = (part.as_ptr() as usize).checked_sub(self.raw.as_ptr() as usize)?;
        (at + part.len() <= self.raw.len()).then_some(at)
    }

    /// `part` of this message as `Bytes` of its own; shares the received octets where it can.
    pub fn share(&self, part: &[u8]) -> Bytes {
        let raw = self.raw.as_ptr_range();
        if raw.contains(&part.as_ptr()) {
            self.raw.slice_ref(part)
        } else {
            Bytes::copy_from_slice(part)
        }
    }

    /// Appends the lines whose known name is in `codes` (a bit each), in their order.
    pub(super) fn copy_codes(&mut self, other: &Headers, codes: u64) {
        for line in other.lines.iter().filter(|line| in_set(codes, line.code)) {
            self.copy_line(other, line);
        }
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    #[inline]
    pub(super) fn value(&self, line: &Line) -> &[u8] {
        &self.text(line)[line.value_start as usize..line.value_end as usize]
    }

    fn name(&self, line: &Line) -> &[u8] {
        &self.text(line)[line.start as usize..line.name_end as usize]
    }

    #[inline]
    fn text(&self, line: &Line) -> &[u8] {
        if line.own { &self.own } else { &self.raw }
    }

    fn position(&self, name: Name) -> Option<usize> {
        let wanted = Wanted::new(name);
        self.lines.iter().position(|line| wanted.is(self, line))
    }

    fn insert(&mut self, at: usize, name: Name, value: &[u8]) {
        self.insert_line(at, name.code(), name.as_str().as_bytes(), value);
    }

    fn insert_line(&mut self, at: usize, code: u8, name: &[u8], value: &[u8]) {
        self.as_received = false;
        self.clear_garbage();
        let start = self.own.len();
        self.own.extend_from_slice(name);
        self.own.extend_from_slice(b": ");
        let lead = self.own.len();
        push_clean(&mut self.own, value);
        let value_start = self.own.len() - trim_start(&self.own[lead..]).len();
        let value_end = lead + trim_end(&self.own[lead..]).len();
        let value_start = value_start.min(value_end);
        self.own.truncate(value_end);
        self.own.extend_from_slice(b"\r\n");
        let line = Line::received(
            (start, start + name.len()),
            (value_start, value_end),
            self.own.len(),
            code,
        );
        self.lines.insert(at, Line { own: true, ..line });
    }

    fn copy_line(&mut self, other: &Headers, line: &Line) {
        self.as_received = false;
        self.clear_garbage();
        let text = &other.text(line)[line.start as usize..line.end as usize];
        let moved = self.own.len() as u32;
        self.own.extend_from_slice(text);
        self.lines.push(line.at(moved));
    }

    /// Drops the text of lines that are gone, so that a long-edited message does not grow.
    fn clear_garbage(&mut self) {
        if self.own.len() < GARBAGE_OCTETS {
            return;
        }
        let live = self.lines.iter().filter(|line| line.own);
        if live.map(|line| (line.end - line.start) as usize).sum::<usize>() * 2 > self.own.len() {
            return;
        }
        let old = std::mem::take(&mut self.own);
        for line in self.lines.iter_mut().filter(|line| line.own) {
            let moved = self.own.len() as u32;
            self.own.extend_from_slice(&old[line.start as usize..line.end as usize]);
            *line = line.at(moved);
        }
    }

    /// Appends the lines as they go on the wire. Content-Length says `body_len`; it is left alone
    /// if it does so already, and added where it is missing from a message that was changed.
    pub(super) fn write(&self, out: &mut Vec<u8>, body_len: usize) {
        let mut run: Option<Line> = None;
        let mut length_seen = false;
        for line in &self.lines {
            if line.code == CONTENT_LENGTH {
                let right = decimal(self.value(line), u32::MAX) == u32::try_from(body_len).ok();
                if length_seen || !right {
                    self.write_run(out, run.take());
                    if !length_seen {
                        write_content_length(out, body_len);
                    }
                    length_seen = true;
                    continue;
                }
                length_seen = true;
            }
            match &mut run {
                // Neighbours that stayed neighbours are copied in one go.
                Some(run) if run.own == line.own && run.end == line.start => run.end = line.end,
                _ => self.write_run(out, run.replace(*line)),
            }
        }
        self.write_run(out, run);
        if !length_seen && !self.as_received {
            write_content_length(out, body_len);
        }
    }

    fn write_run(&self, out: &mut Vec<u8>, run: Option<Line>) {
        if let Some(run) = run {
            out.extend_from_slice(&self.text(&run)[run.start as usize..run.end as usize]);
        }
    }

    /// Octets that [`Self::write`] will need, about.
    pub(super) fn size_hint(&self) -> usize {
        self.lines.iter().map(|line| (line.end - line.start) as usize).sum::<usize>() + 32
    }
}

/// Views every message has (`Headers` holds them, as requests and responses share them). All are
/// infallible on a parsed message, because `parse` has checked them; on a message under
/// construction a missing header reads as empty.
impl Headers {
    /// From (RFC 3261, 20.20).
    pub fn from(&self) -> NameAddr<'_> {
        self.address(Name::From)
    }

    /// To (RFC 3261, 20.39).
    pub fn to(&self) -> NameAddr<'_> {
        self.address(Name::To)
    }

    /// Call-ID, as written.
    pub fn call_id(&self) -> &[u8] {
        self.get(Name::CallId).unwrap_or_default()
    }

    /// The topmost Via.
    pub fn top_via(&self) -> Via<'_> {
        let top = self.list(Name::Via).next();
        top.and_then(|via| Via::parse(via).ok()).unwrap_or_default()
    }

    /// Max-Forwards, if present.
    pub fn max_forwards(&self) -> Option<u8> {
        let value = decimal(self.get(Name::MaxForwards)?, u32::from(u8::MAX))?;
        u8::try_from(value).ok()
    }

    /// The first Contact that is an address (not `*`).
    pub fn contact(&self) -> Option<NameAddr<'_>> {
        self.list(Name::Contact)
            .filter_map(|contact| NameAddr::parse(contact).ok())
            .find(|contact| contact.uri != b"*")
    }

    fn address(&self, name: Name) -> NameAddr<'_> {
        let value = self.get(name);
        value.and_then(|value| NameAddr::parse(value).ok()).unwrap_or_default()
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |octets: &[u8]| octets.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

impl Line {
    /// The same line of our own, its text moved to `start`.
    fn at(&self, start: u32) -> Self {
        let moved = |at: u32| at - self.start + start;
        Self {
            start,
            name_end: moved(self.name_end),
            value_start: moved(self.value_start),
            value_end: moved(self.value_end),
            end: moved(self.end),
            code: self.code,
            own: true,
        }
    }
}

/// A name to look for: by code, or by its letters if it is not known.
#[derive(Clone, Copy)]
struct Wanted<'n> {
    code: u8,
    text: &'n str,
}

impl<'n> Wanted<'n> {
    fn new(name: Name) -> Self {
        Self { code: name.code(), text: name.as_str() }
    }

    /// By a name that is only known at run time.
    fn named(name: &'n str) -> Self {
        Self { code: code_of(name.as_bytes()), text: name }
    }

    fn is(self, headers: &Headers, line: &Line) -> bool {
        line.code == self.code
            && (self.code != OTHER || headers.name(line).eq_ignore_ascii_case(self.text.as_bytes()))
    }
}

const CONTENT_LENGTH: u8 = Name::ContentLength.code();

/// Whether `code` is one of `set`, which has a bit for each known name.
pub(super) fn in_set(set: u64, code: u8) -> bool {
    code != OTHER && set >> code & 1 == 1
}

fn write_content_length(out: &mut Vec<u8>, body_len: usize) {
    out.extend_from_slice(b"Content-Length: ");
    push_number(out, body_len);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_number(out: &mut Vec<u8>, number: usize) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends text that must not end the line it stands in.
pub(super) fn push_clean(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if memchr::memchr3(b'\r', b'\n', 0, text).is_some() {
        for b in &mut out[start..] {
            if is_lws(*b) || *b == 0 {
                *b = b' ';
            }
        }
    }
}

/// One logical header line from `at`: the line and where the next begins. Folds (RFC 3261, 7.3.1)
/// belong to it.
pub(super) fn scan_line(text: &[u8], at: usize) -> Result<(Line, usize), (&'static str, usize)> {
    let (name_end, value_from, code) = read_name(text, at)?;
    let mut from = value_from;
    let end = loop {
        let stop = from
            + memchr::memchr2(b'\r', b'\n', &text[from..])
                .ok_or(("message ends inside a header line", text.len()))?;
        if text[stop] == b'\n' || text.get(stop + 1) != Some(&b'\n') {
            return Err(("CR or LF alone in a header line", stop));
        }
        from = stop + 2;
        if !matches!(text.get(from), Some(b' ' | b'\t')) {
            break stop;
        }
    };
    let value = &text[value_from..end];
    let started = trim_start(value);
    // An empty value begins and ends where the line does.
    let value_start = value_from + (value.len() - started.len());
    let value = (value_start, value_start + trim_end(started).len());
    Ok((Line::received((at, name_end), value, from, code), from))
}

/// Where the name that starts at `at` ends, what follows its colon, and the name's code.
fn read_name(text: &[u8], at: usize) -> Result<(usize, usize, u8), (&'static str, usize)> {
    // Nearly all lines: a known name spelled as we would, right before the colon.
    if let Some(len) = memchr::memchr(b':', &text[at..])
        && let Some(code) = code_to_the_letter(&text[at..at + len])
    {
        return Ok((at + len, at + len + 1, code));
    }
    let (name_end, value_from) = find_name_end(text, at)?;
    Ok((name_end, value_from, code_of(&text[at..name_end])))
}

/// Where the name that starts at `at` ends, and what follows its colon.
fn find_name_end(text: &[u8], at: usize) -> Result<(usize, usize), (&'static str, usize)> {
    let name_end = at + token_len(&text[at..]);
    if name_end == at {
        return Err(("header line has no name", at));
    }
    let mut colon = name_end;
    while matches!(text.get(colon), Some(b' ' | b'\t')) {
        colon += 1;
    }
    match text.get(colon) {
        Some(b':') => Ok((name_end, colon + 1)),
        _ => Err(("header line has no colon", colon)),
    }
}
